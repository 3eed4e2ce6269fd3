"""What the harness makes of the zoo of broken defences, as a confusion table: ``python benchmarks/zoo.py --seeds 3``.

With ``--cifar``, the mechanisms stand around an undefended CIFAR-10 classifier that pyautoattack ships, at Linf 8/255.
"""

import multiprocessing
import sys
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Annotated

import torch
import typer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from zoo import BROKEN, HONEST, Bases, Row, cifar, evaluate_member
from zoo.running import examine
from zoo.table import confusion

from harness import HarnessError


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Train and attack each member this many times.")] = 3,
    examples: Annotated[int, typer.Option(min=1, help="Test images of each evaluation.")] = 100,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 2,
    members: Annotated[list[str] | None, typer.Option("--member", help="Only this one; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the table here, in place of printing it.")] = None,
    directory: Annotated[Path, typer.Option("--cache", help="Where trained models are kept.")] = Path("runs/zoo"),
    on_cifar: Annotated[bool, typer.Option("--cifar", help="Around the CIFAR-10 classifier.")] = False,
    images: Annotated[
        Path | None, typer.Option(help="With --cifar: a folder of 32x32 PNGs, labelled by the classifier itself.")
    ] = None,
    device: Annotated[str, typer.Option(help="With --cifar: where to work.")] = "cpu",
) -> None:
    """Evaluate every member of the zoo and print the confusion table."""
    paths = sorted(images.glob("*.png")) if images else cifar.shipped_images()
    broken = [name for name in (cifar.mechanisms() if on_cifar else BROKEN) if not members or name in members]
    honest = ["natural"] if on_cifar else [name for name in HONEST if not members or name in members]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
        futures: dict[Future[Row], tuple[str, bool]] = {}
        for seed in range(1 if on_cifar else seeds):
            for name, is_broken in [*((name, True) for name in broken), *((name, False) for name in honest)]:
                if on_cifar:
                    future = pool.submit(on_cifar_row, name, is_broken, paths[:examples], device)
                else:
                    future = pool.submit(on_digits_row, name, is_broken, seed, examples, directory)
                futures[future] = (f"{name}, seed {seed}", is_broken)
        for done, future in enumerate(as_completed(futures), 1):
            took = "failed" if future.exception() else f"{future.result().seconds:.0f} s"
            print(f"{done}/{len(futures)} {futures[future][0]}: {took}", file=sys.stderr, flush=True)
    report = _report(futures)
    if out:
        out.write_text(report)
    else:
        print(report)


def on_digits_row(name: str, is_broken: bool, seed: int, examples: int, directory: Path) -> Row:
    """One member with one seed, in a worker."""
    return evaluate_member((BROKEN if is_broken else HONEST)[name], _bases(directory), seed, examples)


def on_cifar_row(name: str, is_broken: bool, paths: list[Path], device: str) -> Row:
    """One mechanism around the CIFAR-10 classifier, which has no robustness to lose; or the classifier itself."""
    model = cifar.checkpoint()
    x, y = cifar.read(paths, model)
    mechanism = "no defence"
    if is_broken:
        member = cifar.mechanisms()[name]
        mechanism = member.mechanism
        assert member.wrap
        model = member.wrap(model)
    return examine(
        model.to(device).eval(), x, y, cifar.THREAT, name=name, mechanism=mechanism, truth=0.0 if is_broken else None
    )


@cache
def _bases(directory: Path) -> Bases:
    return Bases(directory)


def _report(futures: dict[Future[Row], tuple[str, bool]]) -> str:
    """In the order of submission; what the harness refused to evaluate is listed with the rest that was missed."""
    rows: dict[bool, list[Row]] = {True: [], False: []}
    failures = []
    for future, (title, is_broken) in futures.items():
        try:
            rows[is_broken].append(future.result())
        except HarnessError as error:
            failures.append(f"{title}: not evaluated ({error})")
    return confusion(rows[True], rows[False], failures)


if __name__ == "__main__":
    typer.run(main)
