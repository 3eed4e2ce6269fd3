"""A trained network as a class of RobustBench's model zoo: its source, which needs nothing of ours, and its weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Classifier
from harness.models.preact_resnet import PreActResNet
from harness.models.resnet import Bottleneck, FourStages, ResNet
from harness.models.small_cnn import SmallCNN
from harness.models.wide_resnet import WideResNet
from methods.reverse_attention import ReverseAttentionNetwork

_TEMPLATES = Environment(
    loader=PackageLoader(__package__, ""),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=StrictUndefined,
    autoescape=False,  # Python source; the only name from outside is an identifier
)


@dataclass(frozen=True)
class Architecture:
    """What the leaderboard calls it, the template of its source, and what the template is filled with.

    ``known`` says whether RobustBench has the architecture, up to the normalisation.
    """

    label: str
    known: bool
    template: str
    values: dict[str, Any] = field(repr=False)

    def source(self, name: str) -> str:
        """A Python file that defines the class ``{name}Net``, called without arguments."""
        return _TEMPLATES.get_template(self.template).render(self.values, label=self.label, name=name)


def architecture_of(model: nn.Module) -> Architecture:
    """The architecture of a built-in model, with or without reverse attention.

    Raises:
        HarnessError: for any other model, and for images that RobustBench's classes do not take.
    """
    masked = isinstance(model, ReverseAttentionNetwork)
    network = model.network if isinstance(model, ReverseAttentionNetwork) else model
    if not isinstance(network, Classifier) or type(network) not in _FAMILIES:
        known = ", ".join(each.__name__ for each in _FAMILIES)
        raise HarnessError(
            f"there is no class for RobustBench's zoo that computes what {type(network).__name__} does: "
            f"the model must be one of {known}, with or without reverse attention"
        )
    label, values = _FAMILIES[type(network)](network)
    own = isinstance(network, SmallCNN)
    if not own and network.inputs.channels != 3:
        raise HarnessError(f"RobustBench's {label} takes images of 3 channels, this one {network.inputs.channels}")
    shared = {
        "channels": network.inputs.channels,
        "classes": network.classifier.out_features,
        "mean": list(network.inputs.mean),
        "std": list(network.inputs.std),
        "reverse_attention": masked,
    }
    template = f"{type(network).__module__.rpartition('.')[2]}.py.j2"
    name = f"{label} with reverse attention" if masked else label
    return Architecture(name, not (masked or own), template, {**shared, **values})


def zoo_weights(model: nn.Module) -> dict[str, Tensor]:
    """The state dict for the class of :func:`architecture_of`: the model's own, and its normalisation."""
    network = model.network if isinstance(model, ReverseAttentionNetwork) else model
    assert isinstance(network, Classifier)
    normalisation = {"mu": network.mean[None], "sigma": network.std[None]}
    return {name: each.detach().cpu().contiguous() for name, each in (model.state_dict() | normalisation).items()}


def check_logits(model: nn.Module, source: str, name: str, weights: dict[str, Tensor], x: Tensor) -> None:
    """Raise a :class:`HarnessError` unless the class with the weights gives the model's logits, bit for bit.

    ``x`` are images (N, C, H, W) in [0, 1] where the model is. RobustBench must have been loaded.
    """
    scope: dict[str, Any] = {"__name__": name}
    exec(compile(source, f"{name}.py", "exec"), scope)
    theirs: nn.Module = scope[f"{name}Net"]()
    try:
        theirs.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise HarnessError(f"the class written for RobustBench does not take the model's weights: {said}") from error
    with torch.no_grad():
        logits, wanted = theirs.to(x.device).eval()(x), model.eval()(x)
    if not torch.equal(logits, wanted):
        worst = float((logits - wanted).abs().max())
        raise HarnessError(f"the class written for RobustBench gives logits that differ by up to {worst:.3g}")


def _depth(network: FourStages) -> tuple[int, list[int]]:
    counts = [len(layer) for layer in (network.layer1, network.layer2, network.layer3, network.layer4)]
    return 2 + sum(counts) * (3 if isinstance(network.layer1[0], Bottleneck) else 2), counts


def _resnet(network: Any) -> tuple[str, dict[str, Any]]:
    depth, counts = _depth(network)
    return f"ResNet-{depth}", {"block": type(network.layer1[0]).__name__, "counts": counts}


def _preact_resnet(network: Any) -> tuple[str, dict[str, Any]]:
    depth, counts = _depth(network)
    return f"PreActResNet-{depth}", {"counts": counts}


def _wide_resnet(network: Any) -> tuple[str, dict[str, Any]]:
    depth, widen = 6 * len(network.block1.layer) + 4, network.fc.in_features // 64
    return f"WideResNet-{depth}-{widen}", {"depth": depth, "widen": widen}


def _small_cnn(network: Any) -> tuple[str, dict[str, Any]]:
    return "4-layer CNN", {}


_FAMILIES: dict[type[nn.Module], Callable[[Any], tuple[str, dict[str, Any]]]] = {
    ResNet: _resnet,
    PreActResNet: _preact_resnet,
    WideResNet: _wide_resnet,
    SmallCNN: _small_cnn,
}
