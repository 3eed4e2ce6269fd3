"""What searching in bfloat16 costs in strength: ``python benchmarks/agreement.py`` attacks networks in both precisions.

A verdict is always float32's; the question is whether the search in bfloat16 leaves examples standing that the search
in float32 breaks. ``differ`` counts those that only the former leaves standing, and only the latter; beside it the same
for two searches in float32 with other random draws. Digits; the test images come first, then training images.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from zoo import Bases
from zoo.bases import THREAT

from harness.api.model import declared_views
from harness.api.specs import Precision
from harness.attacks import resolve
from harness.attacks.search.criterion import PROBE
from harness.compute.modes import is_rough
from harness.evaluation.arithmetic import search_arithmetic
from harness.evaluation.judge import Examples, judge
from harness.evaluation.stand_ins import stand_ins_for


def row(method: str, attack: str, seed: int, count: int, directory: Path) -> str:
    """One network under one attack, as a line of the table."""
    bases = Bases(directory)
    model = bases.trained(method, seed)
    x, y = (each[:count] for each in bases.images())
    views = stand_ins_for(resolve(attack), model, x, THREAT, declared_views(model))
    with search_arithmetic(model, views, x[:PROBE], y[:PROBE], THREAT, "bfloat16")():
        if not is_rough(x.device):
            return f"| {method} | {attack} | searched in float32, since bfloat16 shows something else | | | | |"

    def standing(precision: Precision, *draws: int) -> Tensor:
        return judge(
            model, Examples(x, y), resolve(attack), THREAT, views=views, seed=draws, batch_size=500, precision=precision
        ).verdicts

    rough, exact, again = standing("bfloat16", seed), standing("float32", seed), standing("float32", seed, 1)
    points = 100 * (int(rough.sum()) - int(exact.sum())) / len(x)
    only = [
        int((one & ~other).sum()) for one, other in ((rough, exact), (exact, rough), (again, exact), (exact, again))
    ]
    cells = f"{int(rough.sum())} | {int(exact.sum())} | {points:+.1f} | {only[0]}, {only[1]} | {only[2]}, {only[3]}"
    return f"| {method} | {attack} | {cells} |"


def main(
    methods: Annotated[str, typer.Option(help="Which networks.")] = "pgd-at,trades,trades-ancra",
    attacks: Annotated[str, typer.Option(help="Under which attacks.")] = "pgd-20,autoattack",
    examples: Annotated[int, typer.Option(min=1, help="Images to attack.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the training and of the attacks.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
    directory: Annotated[Path, typer.Option("--cache", help="Where trained models are kept.")] = Path("runs/agreement"),
) -> None:
    """Attack each network in both precisions and print one table."""
    print(f"| method | attack | bfloat16 | float32 | points, of {examples} | differ | differ in float32, other draws |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        rows = [
            pool.submit(row, method, attack, seed, examples, directory)
            for attack in attacks.split(",")
            for method in methods.split(",")
        ]
        for each in rows:
            print(each.result(), flush=True)


if __name__ == "__main__":
    typer.run(main)
