"""Models that were not trained here: a factory in a Python file, or RobustBench's zoo."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from harness.api.data import Data
from harness.api.errors import CodeFailed, HarnessError
from harness.api.threat import Norm, Threat
from harness.compute.checkpoints import load_weights
from harness.compute.images import device_of
from harness.compute.modes import evaluating
from harness.datasets import load
from harness.evaluation.job import examples_of
from harness.evaluation.judge import Examples
from harness.library import robustbench_compat
from harness.library.evaluate import Evaluation, evaluate
from harness.library.foreign import ForeignModel
from harness.plan.defaults import setup_for, threat_for
from harness.plan.settings import Settings
from harness.plugins import import_file, load_plugins
from harness.run.workspace import Workspace
from harness.views.survey import kept_buffers

log = logging.getLogger("harness")
ROBUSTBENCH = "robustbench:"


def evaluate_external(
    workspace: Workspace,
    model: str,
    weights: Path | None,
    *,
    attacks: Sequence[str],
    norm: Norm | None,
    eps: float | None,
    test_examples: int | None,
    batch_size: int | None,
    device: str | None,
    seed: int,
    settings: Sequence[str] = (),
) -> tuple[Threat, Evaluation]:
    """Evaluate the model on the first ``test_examples`` test images under the data set's threat, or the given one."""
    load_plugins(workspace.plugins)
    limits = Settings(settings, owners=["diagnostics"]).limits()
    data = load(workspace.dataset, workspace.data_root)
    threat = threat_for(setup_for(data).threat, norm, eps)
    network = external_model(model, weights, data.name, threat, workspace.data_root)
    examples = examples_of(data.test.head(test_examples))
    _compare_classes(network, examples, data)
    evaluation = evaluate(
        network,
        *examples,
        threat=threat,
        attacks=attacks,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
        batch_size=batch_size,
        seed=seed,
        limits=limits,
    )
    return threat, evaluation


def _compare_classes(model: Callable[..., Any], examples: Examples, data: Data) -> None:
    """Say so where the model has another number of outputs than the data set has classes."""
    network = ForeignModel(model, torch.device("cpu"))
    with evaluating(network), kept_buffers(network), torch.no_grad():
        outputs = network(examples.at(torch.arange(len(examples.y))[:2], device_of(network))[0]).shape[-1]
    if outputs != data.num_classes:
        log.warning(
            "the model has %d outputs, %s has %d classes: label 0 is %r here, label 1 %r, and so on; is it so there?",
            *(outputs, data.name, data.num_classes, *(data.classes * 2)[:2]),
        )


def external_model(
    text: str, weights: Path | None, dataset: str, threat: Threat, data_root: Path
) -> Callable[..., Any]:
    """The model that ``--model`` names: ``FILE.py:FACTORY`` or ``robustbench:NAME``.

    The factory is called without arguments (or is itself a module); ``weights`` are loaded into what it returns.

    Raises:
        HarnessError: if the file, the factory, the zoo's model or the weights cannot be had.
    """
    if text.startswith(ROBUSTBENCH):
        if weights:
            raise HarnessError(f"{text} comes with its own weights: leave out --weights {weights}")
        return _from_zoo(text.removeprefix(ROBUSTBENCH), dataset, threat, data_root)
    file, colon, factory = text.rpartition(":")
    if not colon or not file.endswith(".py"):
        raise HarnessError(f"--model takes FILE.py:FACTORY or robustbench:NAME, got {text!r}")
    model = _call(Path(file), factory)
    if weights and not isinstance(model, nn.Module):
        raise HarnessError(f"{text} is a function, which takes no weights: leave out --weights {weights}")
    if weights and isinstance(model, nn.Module):
        load_weights(weights, model)
    return model


def _call(file: Path, factory: str) -> Callable[..., Any]:
    module = import_file(file, "model")
    made: Any = getattr(module, factory, None)
    if made is None:
        names = [name for name, value in vars(module).items() if isinstance(value, Callable)]  # type: ignore[arg-type]
        raise HarnessError(f"{file} defines no {factory!r}; it defines {', '.join(names) or 'nothing callable'}")
    try:
        model = made if isinstance(made, nn.Module) else made()
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:
        raise CodeFailed(f"{file}:{factory} failed", error) from error
    if not isinstance(model, Callable):  # type: ignore[arg-type]
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
