"""The command that writes what RobustBench's leaderboard asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.api.errors import HarnessError
from harness.cli.application import DATA, RUNS, DataRoot, Dataset, Plugins, StorePlace, WorkspacePath, app
from harness.cli.show import open_store
from results.names import NATURAL, WORST_CASE


@app.command()
def submit(
    method: Annotated[str, typer.Argument(help="A method, in quotation marks where the tables add its settings.")],
    name: Annotated[str, typer.Option(help="NameYearFirstWord, such as Zhou2023Enhancing.")],
    title: Annotated[str, typer.Option(help="The paper's title.")],
    paper_url: Annotated[str, typer.Option(help="A link to the paper.")],
    authors: Annotated[str, typer.Option(help="Separated by commas.")],
    venue: Annotated[str, typer.Option(help="Such as ICML 2020 or arXiv, Oct 2020; N/A if there is none.")] = "N/A",
    dataset: Dataset = "cifar10",
    seed: Annotated[int, typer.Option(help="The training's.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="best or last.")] = "best",
    model: Annotated[str | None, typer.Option(help="Where there are several.")] = None,
    threat: Annotated[str | None, typer.Option(help="Where there are several, e.g. 'L2 0.5'.")] = None,
    reported: Annotated[
        float | None, typer.Option(help="The paper's robust accuracy in percent; default: ours.")
    ] = None,
    draft: Annotated[
        bool, typer.Option("--draft", help="Write it even where the leaderboard would refuse it.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A folder; default: submissions/NAME in the workspace.")] = None,
    plugin: Plugins = None,
    workspace: WorkspacePath = RUNS,
    store: StorePlace = None,
    data_root: DataRoot = DATA,
) -> None:
    """Write a submission to RobustBench's leaderboard: weights, row, issue forms, adversarial images, and a check.

    Example: harness submit trades-ancra --dataset cifar100 --name Zhou2023Enhancing --title "Enhancing Robust ..."
    --paper-url https://arxiv.org/abs/2310.03358 --authors "Qi Zhou, ..." --venue "arXiv, Oct 2023"
    """
    from harness.compute.files import save_text
    from harness.datasets import load
    from harness.plugins import load_plugins
    from harness.run.workspace import Workspace
    from reports.submission import Made, Paper, measured, refusals, weights_path, written

    paper = Paper(name, title, paper_url, authors, venue, reported)
    here = Workspace.at(workspace, dataset, data_root, plugin or [])
    load_plugins(here.plugins)
    data = load(here.dataset, here.data_root)
    opened = open_store(here, store)
    found = measured(opened, method, dataset=data.name, seed=seed, checkpoint=checkpoint, model=model, threat=threat)
    reasons = refusals(found)
    _stop(reasons, draft)

    from harness.library.submission.model import parts_of, save, trained

    subject = trained(here, data, found.train_id, checkpoint)
    attacked = [row["evaluate_id"] for row in found.attacks if row["attack"] != NATURAL]
    parts = parts_of(subject, name, found.norm, here, attacked, found.verdicts[WORST_CASE])
    reasons += parts.lacking
    _stop(reasons, draft)
    made = Made(**parts.summary)
    folder = out or here.root / "submissions" / name
    save(parts, subject.model, found.verdicts, folder / weights_path(found, paper), folder)
    for path, text in written(found, paper, made, reasons).items():
        save_text(folder / path, text)
    for reason in reasons:
        typer.echo(f"draft: {reason}", err=True)
    typer.echo(f"{folder}: begin with README.md there")


def _stop(reasons: Sequence[str], draft: bool) -> None:
    if reasons and not draft:
        raise HarnessError(f"RobustBench would not take this: {'; '.join(reasons)}. --draft writes it all the same")
