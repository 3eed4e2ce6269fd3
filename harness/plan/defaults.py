"""What a data set is trained and attacked with unless the user says otherwise: the one place for it."""

from dataclasses import dataclass, replace

from harness.api.data import Data
from harness.api.errors import HarnessError
from harness.api.specs import Protocol
from harness.api.threat import Norm, Threat
from harness.plan.settings import PlannedPrecision

# The field's standard: Linf 8/255, training step 0.007 (Zhang et al. 2019, TRADES).
_STANDARD = Threat("Linf", 8 / 255, 0.007)
_PROTOCOL = Protocol()


@dataclass(frozen=True)
class Setup:
    """Model, threat, training protocol, share held out for validation, and number of test examples (None: all).

    ``precision`` is that of the protocol: ``auto`` unless the numbers must be the same on every machine.
    """

    model: str = "resnet18"
    threat: Threat = _STANDARD
    protocol: Protocol = _PROTOCOL
    precision: PlannedPrecision = "auto"
    validation_fraction: float = 0.1
    test_examples: int | None = None


_SETUPS = {
    "digits": Setup(
        model="small-cnn",
        threat=Threat("Linf", 0.2, 0.05),
        protocol=Protocol(epochs=30, lr=0.1, schedule="cyclic", augmentation="none"),
        precision="float32",
        validation_fraction=0.2,  # 260 images: fewer choose `best` by chance
        test_examples=200,
    ),
    "mnist": Setup(
        model="small-cnn",
        threat=Threat("Linf", 0.3, 0.04),
        protocol=Protocol(epochs=30, lr=0.1, schedule="cyclic", augmentation="none"),
        precision="float32",
    ),
    "svhn": Setup(protocol=Protocol(augmentation="crop")),
    "tiny-imagenet": Setup(model="preactresnet18", protocol=Protocol(lr=0.1, weight_decay=5e-4)),
}


def setup_for(data: Data) -> Setup:
    """The setup of a data set by name; of an unknown one, by the size of its images."""
    if data.name in _SETUPS:
        return _SETUPS[data.name]
    return Setup() if data.size <= 32 else _SETUPS["tiny-imagenet"]


def threat_for(default: Threat, norm: Norm | None, eps: float | None) -> Threat:
    """The default threat with the user's norm and radius; the training step keeps its proportion to the radius.

    Raises:
        HarnessError: for another norm without a radius, which would have no meaning there.
    """
    if norm not in (None, default.norm) and eps is None:
        raise HarnessError(f"--norm {norm} needs --eps: the default {default} belongs to {default.norm}")
    if eps is not None and eps != default.eps:
        default = replace(default, eps=eps, step_size=default.step_size / default.eps * eps)
    return replace(default, norm=norm or default.norm)
