"""A real CIFAR-10 classifier that nobody here trained, undefended, and the mechanisms of the zoo around it."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from harness.api.threat import Threat
from zoo.broken import BROKEN
from zoo.member import Member

THREAT = Threat("Linf", 8 / 255)


def checkpoint() -> nn.Module:
    """The ResNet-18 that pyautoattack ships as an example: images in [0, 1], no normalisation."""
    from pyautoattack.examples.resnet import ResNet18

    model: nn.Module = ResNet18()
    weights = _folder("pyautoattack") / "examples" / "model_test.pt"
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()


def shipped_images() -> list[Path]:
    """The 20 CIFAR-10 images that foolbox ships; the last number in a name is the label."""
    return sorted((_folder("foolbox") / "data").glob("cifar10_*.png"))


def read(paths: Sequence[Path], model: nn.Module) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) in [0, 1] and labels (N,): those of shipped images, for any others the model's own word.

    Against its own predictions, an attack succeeds where it changes them.
    """
    x = torch.stack([pil_to_tensor(Image.open(path).convert("RGB")) for path in paths]).float() / 255
    known = [re.fullmatch(r"cifar10_\d+_(\d)", path.stem) for path in paths]
    if all(known):
        return x, torch.tensor([int(match[1]) for match in known if match])
    with torch.no_grad():
        return x, model(x).argmax(1)


def mechanisms() -> dict[str, Member]:
    """Every mechanism that goes around any classifier, once, whatever it is around on digits."""
    return {name.removesuffix("-at"): member for name, member in BROKEN.items() if member.wrap}


def _folder(package: str) -> Path:
    found = find_spec(package)
    assert found
    assert found.origin
    return Path(found.origin).parent
