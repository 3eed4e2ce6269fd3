"""The confusion table of the zoo, in Markdown: every member, then the counts, then everything that was missed."""

from collections import Counter
from collections.abc import Sequence

from zoo.running import Row

MARGIN = 0.03
_ACCURACIES = ("natural", "fgsm", "pgd-20", "autoattack", "adaptive", "worst-case")
_HEADINGS = ("member", "mechanism", *_ACCURACIES, "truth", "gap", "verdict", "findings")


def confusion(broken: Sequence[Row], honest: Sequence[Row], failures: Sequence[str] = ()) -> str:
    """The whole report. Accuracies in percent are means over the seeds; the gap is the largest of them, in points."""
    missed = [f"- {text}" for text in (*_missed(broken), *_false_alarms(honest), *failures)]
    flagged = sum(row.verdict != "trusted" for row in broken)
    near = sum(within(row) for row in broken)
    alarms = len(_false_alarms(honest))
    return "\n".join(
        [
            "| " + " | ".join(_HEADINGS) + " |",
            "|" + " --- |" * len(_HEADINGS),
            *(_line(rows) for rows in (*_by_member(broken), *_by_member(honest))),
            "",
            f"Of {len(broken)} evaluations of broken defences {flagged} are flagged, and in {near} the worst case is "
            f"at most {100 * MARGIN:.0f} points above the truth. Of {len(honest)} evaluations of honest models "
            f"{alarms} are flagged.",
            "",
            "Missed:" if missed else "Nothing was missed.",
            *(["", *missed] if missed else []),
            "",
        ]
    )


def within(row: Row) -> bool:
    """The worst case comes near enough to the truth."""
    return row.gap <= MARGIN + 1e-9


def _missed(rows: Sequence[Row]) -> list[str]:
    unflagged = [f"{row.name}, seed {row.seed}: broken, not flagged" for row in rows if row.verdict == "trusted"]
    return unflagged + [
        f"{row.name}, seed {row.seed}: worst case {100 * row.accuracy['worst-case']:.1f}, truth {100 * row.truth:.1f}"
        for row in rows
        if not within(row)
    ]


def _false_alarms(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row.name}, seed {row.seed}: honest, but {row.verdict} ({', '.join(row.codes)})"
        for row in rows
        if row.verdict != "trusted"
    ]


def _by_member(rows: Sequence[Row]) -> list[list[Row]]:
    return [[row for row in rows if row.name == name] for name in dict.fromkeys(row.name for row in rows)]


def _line(rows: list[Row]) -> str:
    first, count = rows[0], len(rows)
    means = [sum(row.accuracy[name] for row in rows) / count for name in _ACCURACIES]
    means.append(sum(row.truth for row in rows) / count)
    verdicts = Counter(row.verdict for row in rows)
    cells = [
        first.name,
        first.mechanism,
        *(f"{100 * mean:.1f}" for mean in means),
        f"{100 * max(row.gap for row in rows):+.1f}",
        ", ".join(f"{verdict} {times}/{count}" for verdict, times in verdicts.items()),
        ", ".join(dict.fromkeys(code for row in rows for code in row.codes)) or "-",
    ]
    return "| " + " | ".join(cells) + " |"
