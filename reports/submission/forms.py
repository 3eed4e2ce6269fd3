"""The files of a submission that are words and numbers."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reports.forms import to_markdown
from reports.grid import Block, Column, Grid, Line, Value, one_line
from reports.submission.boards import DATASETS
from reports.submission.measured import Measured, Record
from reports.submission.paper import Paper
from reports.table.comparison import percent
from reports.templates import templates
from results.labels import file_label
from results.names import AUTOATTACK, NATURAL, WORST_CASE, attack_rank, ordered_attacks

_TEMPLATES = templates("reports.submission")
_TEMPLATES.filters |= {"python": repr, "line": one_line}
_ALWAYS = {
    "README.md": "README.md.j2",
    "new_model.md": "new_model.md.j2",
    "evaluation.log": "evaluation.log.j2",
    "trust.md": "trust.md.j2",
}


@dataclass(frozen=True)
class Made:
    """What was made of the model itself.

    ``architecture`` is what the leaderboard calls it (empty: no class was written), ``known`` whether RobustBench has
    it. ``on_images`` is the accuracy on the adversarial images, a fraction (None: they were not written).
    """

    architecture: str = ""
    known: bool = False
    on_images: float | None = None


def weights_path(found: Measured, paper: Paper) -> str:
    """Where the weights belong in the folder: where RobustBench's loader looks for them."""
    return f"models/{_board(found)}/{paper.name}.pt"


def written(found: Measured, paper: Paper, made: Made, reasons: Sequence[str]) -> dict[str, str]:
    """Every text file by its path in the folder. ``reasons`` are those for which the leaderboard refuses the model."""
    values = {
        "found": found,
        "paper": paper,
        "made": made,
        "reasons": reasons,
        "board": _board(found),
        "weights": weights_path(found, paper),
        "overestimated": overestimated(found),
        "natural": found.percent(NATURAL),
        "autoattack": found.percent(AUTOATTACK[0]),
        "worst_case": found.percent(WORST_CASE),
        "over": ordered_attacks(row["attack"] for row in found.attacks if row["attack"] != NATURAL),
        "logs": [*_logs(found)],
        "attacks": to_markdown(_attacks(found)).strip(),
        "settings": json.dumps(json.loads(found.params), indent=2),
    }
    names = dict(_ALWAYS)
    if made.architecture:
        names["zoo_entry.py"] = "zoo_entry.py.j2"
    if made.architecture and found.dataset in DATASETS:
        names["verify.py"] = "verify.py.j2"
    if overestimated(found):
        names["external_evaluation.md"] = "external_evaluation.md.j2"
    texts = {path: _TEMPLATES.get_template(template).render(values) for path, template in names.items()}
    row = json.dumps(model_info(found, paper, made), indent=2) + "\n"
    return {f"model_info/{_board(found)}/{paper.name}.json": row, **texts}


def overestimated(found: Measured) -> bool:
    """Whether another attack left less than AutoAttack did."""
    autoattack = found.verdicts.get(AUTOATTACK[0])
    return autoattack is not None and bool(found.verdicts[WORST_CASE].sum() < autoattack.sum())


def model_info(found: Measured, paper: Paper, made: Made) -> dict[str, object]:
    """The row of the leaderboard, with the types and the forms that its own rows have.

    Where the worst case counts, it is ``external``, which the board is sorted by; a masked row is ``unreliable``.
    """
    reported = found.percent(WORST_CASE) if paper.reported is None else f"{paper.reported:.2f}"
    masked = found.verdict == "masked"
    row: dict[str, object] = {
        "link": paper.url,
        "name": paper.title,
        "authors": paper.authors,
        "additional_data": False,
        "number_forward_passes": 1,
        "dataset": found.dataset,
        "venue": paper.venue,
        "architecture": made.architecture or found.model,
        "eps": found.radius,
        "clean_acc": found.percent(NATURAL),
        "reported": reported,
        "autoattack_acc": found.percent(AUTOATTACK[0]),
    }
    if masked:
        row["unreliable"] = True
    if masked or overestimated(found):
        row["external"] = found.percent(WORST_CASE)
        row["footnote"] = "Robust accuracy is the worst case over AutoAttack and attacks that know the defence."
    return {key: value for key, value in row.items() if value is not None}


def _board(found: Measured) -> str:
    """Data set and norm as folders."""
    dataset = found.dataset if found.dataset in DATASETS else file_label(found.dataset)
    return f"{dataset}/{found.norm}"


def _attacks(found: Measured) -> Grid:
    """The accuracy that each attack left, with its 95 % interval."""
    lines = [
        Line(
            Value(row["attack"]),
            (
                Value(percent(row["accuracy"])),
                Value(f"{percent(row['ci_low'])} to {percent(row['ci_high'])}"),
                Value(f"{row['examples']:,}"),
            ),
            {},
        )
        for row in _in_order(found)
    ]
    columns = (Column("accuracy"), Column("95 %"), Column("examples"))
    return Grid("attacks", "Accuracy under each attack", columns, (Block(tuple(lines)),), first="attack")


def _logs(found: Measured) -> Iterator[Record]:
    """Each evaluation with what was left after each part of its attack, in percent."""
    for row in _in_order(found):
        broken = json.loads(row["broken_by"] or "{}")
        correct = round(row["accuracy"] * row["examples"])
        after, left = [], correct + sum(broken.values())
        for part, count in broken.items():
            left -= count
            after.append((part, percent(left / row["examples"])))
        yield {**row, "after": after, "left": percent(row["accuracy"])}


def _in_order(found: Measured) -> list[Record]:
    return sorted(found.attacks, key=lambda row: attack_rank(row["attack"]))
