"""The files of a submission that are made of the model: weights, source of its class, adversarial images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from harness.api.data import Data
from harness.api.errors import HarnessError
from harness.api.specs import parse_spec
from harness.api.threat import Threat
from harness.compute.checkpoints import save_state, save_weights
from harness.compute.files import save_text, write_atomically
from harness.compute.images import to_images
from harness.evaluation.job import checkpoint_model, examples_of
from harness.library import robustbench_compat
from harness.library.submission.architecture import Architecture, architecture_of, check_logits, zoo_weights
from harness.library.submission.images import worst_case_images
from harness.library.trainings import finished
from harness.run.workspace import Workspace
from results.adversarial import read_adversarial
from results.verdicts import Verdicts

T = TypeVar("T")

_TRIED = 16  # images on which both classes must say the same
_TOLERANCE = 0.0005  # of the examples: what RobustBench's own tests allow between a figure and another measurement


@dataclass(frozen=True)
class Trained:
    """A checkpoint of a finished training, and the data set that it was trained on."""

    model: nn.Module
    data: Data


@dataclass(frozen=True)
class Network:
    """The class for RobustBench's zoo: what it is, its Python source, and the weights that it loads."""

    architecture: Architecture
    source: str
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class Images:
    """One image (N, C, H, W) for each test example, and the model's accuracy on them, a fraction."""

    tensor: Tensor
    accuracy: float


@dataclass(frozen=True)
class Parts:
    """What can be made of a model; ``lacking`` says why the rest cannot."""

    network: Network | None
    images: Images | None
    lacking: tuple[str, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """What the forms say of them; the ``architecture`` is empty and ``on_images`` None where there is none."""
        architecture = self.network.architecture if self.network else None
        return {
            "architecture": architecture.label if architecture else "",
            "known": bool(architecture and architecture.known),
            "on_images": self.images.accuracy if self.images else None,
        }


def trained(workspace: Workspace, data: Data, train_id: str, checkpoint: str) -> Trained:
    """The model of a finished training, on the CPU.

    Raises:
        HarnessError: if the training's files are not there, or the data set is another one.
    """
    files, spec = finished(workspace, train_id, checkpoint, data)
    return Trained(checkpoint_model(spec, files, checkpoint, data), data)


def parts_of(
    found: Trained, name: str, norm: str, workspace: Workspace, evaluations: Sequence[str], worst_case: Verdicts
) -> Parts:
    """The network as ``name`` and the images of the jobs ``evaluations``, tried and checked; nothing is written yet.

    ``worst_case`` are the verdicts, bool (N,), that the images must show again.
    """
    lacking: list[str] = []

    def tried(make: Callable[[], T]) -> T | None:
        try:
            return make()
        except HarnessError as error:
            lacking.append(str(error))
            return None

    network = tried(lambda: network_of(found, name, norm))
    images = tried(lambda: images_of(found, workspace, evaluations, worst_case))
    return Parts(network, images, tuple(lacking))


def network_of(found: Trained, name: str, norm: str) -> Network:
    """The class ``{name}Net`` with its weights, which gives the model's logits bit for bit: that is tried here.

    Raises:
        HarnessError: if RobustBench has a model of that name, or there is no such class.
    """
    robustbench_compat.load()
    if name in _zoo(found.data.name, norm):
        raise HarnessError(f"RobustBench has a model {name} already: add what is different, for example {name}_RN18")
    architecture = architecture_of(found.model)
    source, weights = architecture.source(name), zoo_weights(found.model)
    images = to_images(examples_of(found.data.test.head(_TRIED)).x, torch.device("cpu"))
    check_logits(found.model, source, name, weights, images)
    return Network(architecture, source, weights)


def images_of(found: Trained, workspace: Workspace, evaluations: Sequence[str], worst_case: Verdicts) -> Images:
    """The images that broke the examples in the jobs ``evaluations``, tried again on a GPU if there is one.

    Raises:
        HarnessError: if a job lacks its images, or the model is right where ``worst_case`` says otherwise.
    """
    jobs = [workspace.job(job) for job in evaluations]
    if without := [job.id for job in jobs if not job.adversarial.exists()]:
        raise HarnessError(
            f"{len(without)} of {len(jobs)} evaluations are of a version that did not keep adversarial images: "
            f"harness rm {', '.join(without)}, one by one, and the same harness run make them again"
        )
    kept = [read_adversarial(job.adversarial) for job in jobs]
    specs = [parse_spec(job.spec.read_text(encoding="utf-8")) for job in jobs]
    threat = next(Threat.of(spec.threat) for spec in specs)
    examples = examples_of(found.data.test.head(len(worst_case)))
    model = found.model.to("cuda" if torch.cuda.is_available() else "cpu")
    tensor, standing = worst_case_images(model, examples, threat, kept)
    other = int((standing.numpy() != worst_case).sum())
    if other > _TOLERANCE * len(worst_case):
        raise HarnessError(
            f"the model judges {other} of {len(worst_case)} examples otherwise than its evaluations did: "
            "run them again here (harness rm, harness run)"
        )
    return Images(tensor, float(standing.double().mean()))


def save(parts: Parts, model: nn.Module, verdicts: Mapping[str, Verdicts], weights: Path, folder: Path) -> None:
    """Write ``weights`` (.pt, and beside it .safetensors), and into the folder what was made of the model.

    These are ``verdicts.pt``, ``architecture.py`` and ``adversarial.pt``. Without a network the weights are the model's
    own.
    """
    own = {name: value.cpu() for name, value in model.state_dict().items()}
    state = parts.network.weights if parts.network else own
    save_state(weights, state)
    save_weights(weights.with_suffix(".safetensors"), state)
    save_state(folder / "verdicts.pt", {name: torch.from_numpy(each) for name, each in verdicts.items()})
    if parts.network:
        save_text(folder / "architecture.py", parts.network.source)
    if parts.images:
        tensor = parts.images.tensor
        write_atomically(folder / "adversarial.pt", lambda part: torch.save(tensor, part))


def _zoo(dataset: str, norm: str) -> set[str]:
    """The names of RobustBench's models for the data set and the norm."""
    boards = import_module("robustbench.model_zoo").model_dicts
    return {
        name
        for board, threats in boards.items()
        for threat, models in threats.items()
        if (board.value, threat.value) == (dataset, norm)
        for name in models
    }
