"""What a dry run prints: how many jobs of what kind, what they take, and how long that is on so many devices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from harness.plan.graph import Job
    from harness.run.estimate import Row
    from harness.run.pace import Pace
    from harness.run.workspace import Workspace

_MINUTE, _HOUR = 60, 3600
_LONG = 2  # of a unit, and the next one counts


def show_plan(
    console: Console, workspace: "Workspace", jobs: "Sequence[Job]", workers: int, price: float | None
) -> None:
    """The jobs by kind, with what those that are not done will take and what those that are took beside the plan.

    ``price`` is that of an hour of one device.
    """
    from harness.run.estimate import rows, total
    from harness.run.pace import Pace

    pace = Pace(workspace, jobs)
    found = rows(jobs, pace)
    whole = total(found)
    console.print(_table([*found, whole], price))
    unknown = [row.name for row in found if row.left is None]
    console.print(f"{whole.jobs} jobs, {whole.done} done; {workers} at once", highlight=False)
    if unknown:
        console.print(f"not known: what {', '.join(unknown)} take; --measure tries a few batches of each", style="dim")
    if whole.left:
        _show_schedules(console, jobs, pace, workers, price, more=bool(unknown))


def _table(found: "Sequence[Row]", price: float | None) -> Table:
    """What there is nothing to say of has no column."""
    cells = {
        "jobs": [row.name for row in found],
        "all": [str(row.jobs) for row in found],
        "done": [str(row.done) for row in found],
        "left": [duration(row.left) for row in found],
        "money": [_money(row.left, price) for row in found],
        "GiB": [f"{row.memory:.1f}" if row.memory else "" for row in found],
        "planned": [duration(row.planned) for row in found],
        "took": [duration(row.took) if row.planned else "" for row in found],
        "error": ["" if row.error is None else f"{row.error:+.0%}" for row in found],
        "waits for": [", ".join(f"{count} {kind}" for kind, count in row.needs.items()) for row in found],
    }
    shown = {title: column for title, column in cells.items() if any(column)}
    table = Table(*shown, box=None)
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    return table


def _show_schedules(
    console: Console, jobs: "Sequence[Job]", pace: "Pace", workers: int, price: float | None, *, more: bool
) -> None:
    from harness.run.estimate import schedules

    table = Table("devices", "more than" if more else "takes", "busy", *(["money"] if price else []), box=None)
    for devices, found in schedules(jobs, pace, workers).items():
        cost = [_money(found.seconds * devices, price)] if price else []
        table.add_row(str(devices), duration(found.seconds), f"{found.use(devices):.0%}", *cost)
    console.print(table)


def duration(seconds: float | None) -> str:
    """``42 s``, ``12 min`` or ``3.4 h``; empty for none."""
    if not seconds:
        return ""
    if seconds < _LONG * _MINUTE:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < _LONG * _HOUR else f"{seconds / _HOUR:,.1f} h"


def _money(seconds: float | None, price: float | None) -> str:
    return f"{seconds / _HOUR * price:,.2f}" if seconds and price else ""
