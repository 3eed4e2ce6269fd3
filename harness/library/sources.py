"""The model that ``--model`` names: a Python file's, RobustBench's, a published folder's, or one trained here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from harness.api.data import Data
from harness.api.errors import CodeFailed, HarnessError
from harness.api.specs import TrainSpec
from harness.api.threat import Threat
from harness.compute.checkpoints import load_weights
from harness.evaluation.job import checkpoint_model
from harness.library import hub, robustbench_compat
from harness.plugins import code_in, import_file
from harness.run.status import finished_jobs
from harness.run.workspace import Workspace
from results.names import CHECKPOINTS

ROBUSTBENCH, RUNS = "robustbench:", "runs:"


@dataclass(frozen=True)
class Source:
    """A model with the words that named it, in words which ``weights`` it has, and the hash of its file's ``code``."""

    model: Callable[..., Any]
    name: str
    weights: str
    code: str | None = None


def source(text: str, weights: Path | None, data: Data, threat: Threat, workspace: Workspace) -> Source:
    """The model called ``FILE.py:FACTORY``, ``robustbench:NAME`` or ``runs:METHOD/seed0/best``, or in a folder.

    The factory is called without arguments (or is itself a module); ``weights`` are loaded into what it returns. The
    folder is one that :mod:`harness.library.hub` wrote.

    Raises:
        HarnessError: if the file, the factory, the zoo's model, the training or the weights cannot be had.
    """
    if text.startswith((ROBUSTBENCH, RUNS)) or Path(text).is_dir():
        if weights:
            raise HarnessError(f"{text} comes with its own weights: leave out --weights {weights}")
        if Path(text).is_dir():
            return Source(hub.load(Path(text)), text, str(Path(text) / hub.WEIGHTS))
        prefix, _, name = text.partition(":")
        if prefix == "runs":
            return Source(*_from_workspace(name, data, workspace))
        model: Callable[..., Any] = _from_zoo(name, data.name, threat, workspace.data_root)
        return Source(model, text, f"RobustBench's {name}")
    file, colon, factory = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise HarnessError(
            "--model takes FILE.py:FACTORY, a folder that harness export wrote, robustbench:NAME or "
            f"runs:METHOD/seed0/best, got {text!r}"
        )
    model, code = _call(Path(file), factory), code_in(Path(file))
    if not weights:
        return Source(model, text, f"as {factory} in {file} gave them; --weights FILE loads others", code)
    if not isinstance(model, nn.Module):
        raise HarnessError(f"{text} is a function, which takes no weights: leave out --weights {weights}")
    load_weights(weights, model)
    return Source(model, text, str(weights), code)


def _call(file: Path, factory: str) -> Callable[..., Any]:
    module = import_file(file, "model")
    made: Any = getattr(module, factory, None)
    if made is None:
        names = [name for name, value in vars(module).items() if callable(value)]
        raise HarnessError(f"{file} defines no {factory!r}; it defines {', '.join(names) or 'nothing callable'}")
    try:
        model = made if isinstance(made, nn.Module) else made()
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        raise CodeFailed(f"{file}:{factory} failed", error) from error
    if not callable(model):
        raise HarnessError(f"{file}:{factory} must return a torch.nn.Module or a function, got {type(model).__name__}")
    found: Callable[..., Any] = model
    return found


def _from_zoo(name: str, dataset: str, threat: Threat, data_root: Path) -> nn.Module:
    robustbench = robustbench_compat.load()
    try:
        model: nn.Module = robustbench.utils.load_model(
            name, model_dir=str(data_root / "robustbench"), dataset=dataset, threat_model=threat.norm
        )
    except (KeyError, ValueError) as error:
        raise HarnessError(
            f"RobustBench has no model {name!r} for {dataset} under {threat.norm}: "
            "see https://robustbench.github.io for the names"
        ) from error
    except Exception as error:  # its downloader raises anything
        raise HarnessError(
            f"RobustBench's model {name!r} could not be had ({type(error).__name__}: {error}); "
            f"put its checkpoint under {data_root / 'robustbench' / dataset / threat.norm} and try again"
        ) from error
    return model.eval()


def _from_workspace(name: str, data: Data, workspace: Workspace) -> tuple[nn.Module, str, str]:
    """Model, name and weights of ``METHOD/seedN/CHECKPOINT``, or of ``TRAIN-ID/CHECKPOINT``."""
    training, _, checkpoint = name.rpartition("/")
    if checkpoint not in CHECKPOINTS:
        raise HarnessError(f"runs: takes METHOD/seed0/best or TRAIN-ID/last, got {name!r}")
    finished = {
        files.id: (files, spec)
        for files, spec in finished_jobs(workspace.jobs, "train")
        if isinstance(spec, TrainSpec)
        and training in (files.id, f"{spec.method.name}/seed{spec.seed}")
        and spec.dataset.fingerprint == data.fingerprint
    }
    if len(finished) != 1:
        ids = " or ".join(f"runs:{each}/{checkpoint}" for each in sorted(finished))
        found = f"several: name {ids}" if ids else "none: see harness status"
        where = f"on {data.name} in {workspace.root}"
        raise HarnessError(f"runs:{name} must be one finished training {where}, found {found}")
    files, spec = next(iter(finished.values()))
    model = checkpoint_model(spec, files, checkpoint, data)
    return model, f"runs:{name}", str(files.weights(checkpoint))
