"""What a job of each kind takes, as a file in the workspace that anybody may write; read without torch."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from harness.api.errors import HarnessError
from harness.compute.files import save_text

Kind = tuple[str, ...]
COLUMNS = ("job", "setting", "seconds", "GiB", "device", "source")


class Cost(NamedTuple):
    """Of one job: ``seconds``, the most GiB that it holds (None: not known), on which device, and who says so."""

    seconds: float
    memory: float | None = None
    device: str = ""
    source: str = ""


def read_costs(path: Path) -> dict[Kind, Cost]:
    """By kind of job, as :class:`harness.plan.graph.Job` has them; empty where there is no file.

    Raises:
        HarnessError: naming the file and the line that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found = {}
    for number, row in enumerate(csv.DictReader(lines), start=2):
        try:
            memory = float(row["GiB"]) if row.get("GiB") else None
            cost = Cost(float(row["seconds"]), memory, row.get("device") or "", row.get("source") or "")
            found[(*row["job"].split(), row["setting"])] = cost
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            wanted = f"a row has {','.join(COLUMNS)}, such as train trades,cifar10 resnet18 120 epochs,5400,8.5,H100,me"
            raise HarnessError(f"{path} line {number} cannot be read ({error!r}): {wanted}") from error
    return found


def save_costs(path: Path, costs: Mapping[Kind, Cost]) -> None:
    """As :func:`read_costs` takes it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for kind, cost in costs.items():
        memory = "" if cost.memory is None else f"{cost.memory:.3g}"
        writer.writerow([" ".join(kind[:-1]), kind[-1], f"{cost.seconds:.4g}", memory, cost.device, cost.source])
    save_text(path, text.getvalue())
