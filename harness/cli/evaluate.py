"""The command that attacks a model that was not trained here."""

import json as json_text
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from harness.cli.application import (
    DATA,
    DEFAULT_ATTACKS,
    RUNS,
    Attacks,
    DataRoot,
    Dataset,
    Eps,
    Norm,
    Plugins,
    StorePlace,
    WorkspacePath,
    app,
    names,
    parse_eps,
    typed,
)
from harness.cli.show import accuracies, open_store, show_evaluation

if TYPE_CHECKING:
    from harness.library.external import External


@app.command()
def evaluate(
    model: Annotated[
        str, typer.Option(help="FILE.py:FACTORY, an exported folder, robustbench:NAME or runs:METHOD/seed0/best.")
    ],
    dataset: Dataset = "cifar10",
    weights: Annotated[
        Path | None,
        typer.Option(help="A state dict: .safetensors, or .pt read with weights_only; default: what FACTORY gives."),
    ] = None,
    attacks: Attacks = DEFAULT_ATTACKS,
    norm: Norm = None,
    eps: Eps = None,
    test_examples: Annotated[int | None, typer.Option(min=1, help="Attack the first N test images only.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images attacked at once.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1; default: a GPU if there is one.")] = None,
    seed: Annotated[int, typer.Option(help="Fixes all randomness.")] = 0,
    settings: Annotated[list[str] | None, typer.Option("--set", help="diagnostics.FINDING.masked=VALUE.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 unless the verdict is trusted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")] = False,
    save: Annotated[
        str | None, typer.Option(help="Keep the result in the workspace, as a method of this name.")
    ] = None,
    architecture: Annotated[
        str | None, typer.Option(help="With --save: the model whose tables it belongs in; default: its class.")
    ] = None,
    plugin: Plugins = None,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
    data_root: DataRoot = DATA,
) -> None:
    """Attack a model that was not trained here; with --save it becomes a row of the workspace's tables.

    Example: harness evaluate --model net.py:make --weights net.safetensors --dataset cifar10 --strict
    """
    from harness.library.external import evaluate_external
    from harness.library.keep import check_name, keep
    from harness.run.workspace import Workspace

    here = Workspace.at(workspace, dataset, data_root, plugin or [], typed())
    if save:
        check_name(save, model, here.plugins)
    found = evaluate_external(
        here,
        model,
        weights,
        attacks=names(attacks),
        norm=norm,
        eps=parse_eps(eps),
        test_examples=test_examples,
        batch_size=batch_size,
        device=device,
        seed=seed,
        settings=settings or [],
    )
    if json:
        typer.echo(json_text.dumps(_as_json(found), indent=2))
    else:
        show_evaluation(Console(), found.title, found.evaluation)
    if save:
        kept = keep(found, save, architecture, here, open_store(here, store, create=True))
        where = f"{kept.dataset.name}, {kept.model}, {found.threat}"
        typer.echo(f"kept as {save} in {workspace} ({where}): harness report, harness compare {save} ...", err=json)
    if strict and found.evaluation.verdict != "trusted":
        raise typer.Exit(1)


def _as_json(found: "External") -> dict[str, Any]:
    """The same as the table says, for scripts; accuracies are fractions."""
    from dataclasses import asdict

    evaluation = found.evaluation
    return {
        "model": found.source.name,
        "weights": found.source.weights,
        "dataset": found.data.name,
        "threat": str(found.threat),
        "attacks": accuracies(evaluation),
        "verdict": evaluation.verdict,
        "findings": [asdict(finding) for finding in evaluation.findings],
    }
