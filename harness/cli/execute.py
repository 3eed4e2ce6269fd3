"""The commands that train and attack."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from harness.cli.application import DATA, RUNS, Attacks, DataRoot, Dataset, Norm, Plugins, Workspace, app, names
from harness.cli.show import show_report

ATTACKS = "fgsm,pgd-20,cw,autoattack,adaptive"


@app.command()
def run(
    methods: Annotated[str, typer.Option(help="Comma-separated names, or all, or all,ablations.")] = "all",
    dataset: Dataset = "digits",
    attacks: Attacks = ATTACKS,
    checkpoints: Annotated[str, typer.Option(help="Which checkpoints to attack.")] = "best,last",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, counted from --seed.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    model: Annotated[str | None, typer.Option(help="A model (see harness models); default: the data set's.")] = None,
    norm: Norm = None,
    eps: Annotated[str | None, typer.Option(help="Radius for images in [0, 1], e.g. 8/255.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Training length; default: the data set's.")] = None,
    train_examples: Annotated[int | None, typer.Option(min=1, help="Train on the first N images only.")] = None,
    test_examples: Annotated[int | None, typer.Option(min=1, help="Attack the first N test images only.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="METHOD.FIELD=VALUE; also protocol, threat, diagnostics.")
    ] = None,
    plugin: Plugins = None,
    workers: Annotated[int | None, typer.Option(help="Jobs at once; default: one per GPU, or per CPU core.")] = None,
    executor: Annotated[str, typer.Option(help="local (worker processes) or inline (this process).")] = "local",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only failures and the table.")] = False,
    workspace: Workspace = RUNS,
    data_root: DataRoot = DATA,
) -> None:
    """Train each method, attack every model alike, store all outcomes, print the tables.

    What is done already is never done again: after an interruption, the same command goes on.

    Example: harness run --methods trades,trades-ancra --dataset cifar10 --seeds 3
    """
    from functools import partial

    from harness import session
    from harness.experiment import Request
    from results.store import Store

    console = Console()
    pool = session.executor_for(executor, workers)
    place = session.place_of(workspace, dataset, data_root, plugin or [])
    ask = partial(
        Request,
        methods=names(methods),
        attacks=names(attacks),
        checkpoints=names(checkpoints),
        seeds=range(seed, seed + seeds),
        model=model,
        norm=norm,
        eps=_eps(eps),
        epochs=epochs,
        train_examples=train_examples,
        test_examples=test_examples,
        settings=settings or [],
    )
    jobs = session.prepare(place, ask)
    store = Store.open(workspace / "harness.db")
    if not quiet:
        console.print(session.describe(jobs), markup=False, highlight=False, soft_wrap=True)
    try:
        outcome = session.run(place, jobs, store, console, pool, quiet=quiet)
    except session.Interrupted:
        console.print("interrupted; everything finished is kept. The same command goes on where this one stopped.")
        raise typer.Exit(130) from None
    evaluated = {*outcome.done, *outcome.reused} & {job.id for job in jobs if job.needs}
    if evaluated:
        show_report(console, store, workspace, evaluated)
    if outcome.failed:
        lost = len(outcome.failed) + len(outcome.blocked)
        console.print(f"{lost} of {len(jobs)} jobs failed or could not start; see harness status", style="red")
        raise typer.Exit(1)


@app.command()
def evaluate(
    model: Annotated[str, typer.Option(help="FILE.py:FACTORY or robustbench:NAME.")],
    dataset: Dataset = "cifar10",
    weights: Annotated[
        Path | None, typer.Option(help="A state dict: .safetensors, or .pt read with weights_only.")
    ] = None,
    attacks: Attacks = ATTACKS,
    norm: Norm = None,
    eps: Annotated[str | None, typer.Option(help="Radius for images in [0, 1], e.g. 8/255.")] = None,
    test_examples: Annotated[int | None, typer.Option(min=1, help="Attack the first N test images only.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images attacked at once.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes all randomness.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="diagnostics.FINDING.masked=VALUE.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 unless the verdict is trusted.")] = False,
    plugin: Plugins = None,
    data_root: DataRoot = DATA,
) -> None:
    """Attack a model that was not trained here; nothing is stored.

    Example: harness evaluate --model net.py:make --weights net.safetensors --dataset cifar10 --strict
    """
    from harness import session
    from harness.external import evaluate_external
    from reports.evaluation import to_terminal

    place = session.place_of(Path(), dataset, data_root, plugin or [])
    threat, evaluation = evaluate_external(
        place,
        model,
        weights,
        attacks=names(attacks),
        norm=norm,
        eps=_eps(eps),
        test_examples=test_examples,
        batch_size=batch_size,
        device=device,
        seed=seed,
        settings=settings or [],
    )
    Console().print(to_terminal(f"{model} on {dataset}, {threat}", evaluation))
    if strict and evaluation.verdict != "trusted":
        raise typer.Exit(1)


def _eps(text: str | None) -> float | None:
    from harness.values import parse_value

    return None if text is None else parse_value("eps", text, float)
