"""A trained model in the layout of Hugging Face's Hub: a folder of ``config.json`` and ``model.safetensors``."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from harness.api.errors import HarnessError
from harness.api.method import Paper, methods
from harness.api.model import Inputs
from harness.api.specs import MethodSpec, Spec, TrainSpec
from harness.compute.checkpoints import load_weights
from harness.compute.files import save_text, write_atomically
from harness.compute.randomness import seeded
from harness.datasets import load as load_data
from harness.library.trainings import finished
from harness.plugins import load_plugins
from harness.run.workspace import Workspace
from harness.version import __version__

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Config(Spec):
    """What the architecture depends on; images are in [0, 1] and normalised inside the model."""

    library_name: str = "robustness-harness"
    library_version: str = __version__
    method: MethodSpec
    model: str
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def write(folder: Path, workspace: Workspace, train_id: str, checkpoint: str) -> TrainSpec:
    """Write one checkpoint of a finished training of the workspace, and read it once; the training's spec.

    Raises:
        HarnessError: if the training is not there, its data set is another today, or a file is damaged.
    """
    load_plugins(workspace.plugins)
    data = load_data(workspace.dataset, workspace.data_root)
    files, spec = finished(workspace, train_id, checkpoint, data)
    config = Config(
        method=spec.method,
        model=spec.model,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        mean=data.mean,
        std=data.std,
    )
    write_atomically(folder / WEIGHTS, lambda part: shutil.copyfile(files.weights(checkpoint), part))
    save_text(folder / CONFIG, config.model_dump_json(indent=1))
    load(folder)
    return spec


def load(folder: Path | str, plugins: Sequence[Path | str] = ()) -> nn.Module:
    """The model in a folder that ``harness export huggingface`` wrote: images (N, C, H, W) in [0, 1] to logits.

    On the CPU, in evaluation mode. ``plugins`` are the Python files that its method or architecture comes from.

    Raises:
        HarnessError: if the folder holds no such model, or one of a plugin that is missing.
    """
    load_plugins([Path(plugin) for plugin in plugins])
    config = _config(Path(folder) / CONFIG)
    inputs = Inputs(config.channels, config.size, config.mean, config.std)
    with seeded(0, "initial weights"):
        method = methods[config.method.name](**config.method.params)
        model = method.build_model(config.model, len(config.classes), inputs)
    load_weights(Path(folder) / WEIGHTS, model)
    return model.eval()


def paper_of(spec: TrainSpec) -> Paper | None:
    """Where the spec's method comes from, if it says so."""
    return methods[spec.method.name].paper


def _config(path: Path) -> Config:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        return Config.model_validate(found)
    except (OSError, ValueError, ValidationError) as error:
        raise HarnessError(f"{path} is not what `harness export huggingface` writes: {error}") from error
