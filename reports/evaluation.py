"""One evaluated model, for the terminal."""

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from results.statistics import wilson

if TYPE_CHECKING:
    from harness.library import Evaluation

_COLOURS = {"trusted": "green", "suspect": "yellow", "masked": "red"}


def to_terminal(title: str, evaluation: "Evaluation") -> RenderableType:
    """Accuracy under each attack in percent with 95 % Wilson intervals, the verdict, and every finding."""
    table = Table("attack", "accuracy", "95 %", title=title, title_justify="left", box=None)
    for name, verdicts in evaluation.verdicts.items():
        correct, examples = int(verdicts.sum()), len(verdicts)
        low, high = wilson(correct, examples)
        table.add_row(name, f"{100 * correct / examples:.2f}", f"{100 * low:.2f} to {100 * high:.2f}")
    verdict = Text.assemble(f"{examples} examples; verdict: ", (evaluation.verdict, _COLOURS[evaluation.verdict]))
    lines: list[RenderableType] = [table, verdict]
    lines += [Text(f"  {f.code}: {f.message} ({f.evidence}). {f.advice}") for f in evaluation.findings]
    return Group(*lines)
