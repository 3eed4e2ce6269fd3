"""The threat model: the set of perturbations an attacker may use."""

from dataclasses import dataclass
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from harness.api.errors import HarnessError
from harness.api.specs import ThreatSpec
from harness.api.values import parse_value
from results.labels import threat_label

Norm = Literal["Linf", "L2"]

# Room for rounding when float32 examples are measured against eps (verification), in units of the image.
TOLERANCE = 1e-6
_SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Threat:
    """A norm ball of radius ``eps`` around an image, cut to the valid pixel range [0, 1].

    ``eps`` and ``step_size`` are in units of the image, so 8/255 is eight grey levels. ``step_size`` is the
    attack step used in training (0.007 at 8/255 in Zhang et al. 2019, https://arxiv.org/abs/1901.08573);
    left out, it is ``eps / 4``.

    Raises:
        HarnessError: for an unknown norm, or a radius or step that is not positive and finite.
    """

    norm: Norm = "Linf"
    eps: float = 8 / 255
    step_size: float = 0.0

    def __post_init__(self) -> None:
        for name in ("eps", "step_size"):
            object.__setattr__(self, name, _number(name, getattr(self, name)))
        if self.norm not in get_args(Norm):
            raise HarnessError(f"norm must be one of {', '.join(get_args(Norm))}, got {self.norm!r}")
        if not 0 < self.eps < float("inf"):
            raise HarnessError(f"eps must be positive, in units of a [0, 1] image, got {self.eps}")
        if self.norm == "Linf" and self.eps > 1:
            raise HarnessError(
                f"Linf eps must be at most 1 (images are in [0, 1]), got {self.eps}: write {self.eps:g}/255?"
            )
        if self.step_size == 0:
            object.__setattr__(self, "step_size", self.eps / 4)
        if not 0 < self.step_size < float("inf"):
            raise HarnessError(f"step_size must be positive, got {self.step_size}")

    @classmethod
    def of(cls, spec: ThreatSpec) -> Self:
        """The threat that a spec describes."""
        return cls(**spec.model_dump())

    def __str__(self) -> str:
        """For example ``Linf 8/255``."""
        return threat_label(self.norm, self.eps)

    def distance(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """The distance of each pair in this norm: (N, ...) and (N, ...) to (N,)."""
        difference = (x_adv - x).flatten(1)
        return difference.abs().amax(1) if self.norm == "Linf" else torch.linalg.vector_norm(difference, dim=1)

    def contains(self, x: Tensor, x_adv: Tensor) -> Tensor:
        """Which ``x_adv`` (N, ...) lie in the ball around ``x`` and in [0, 1], up to rounding: bool (N,).

        An example with a value that is not finite lies nowhere.
        """
        flat = x_adv.flatten(1)
        in_range = (flat >= 0).all(1) & (flat <= 1).all(1)
        return in_range & (self.distance(x, x_adv) <= self.eps * (1 + TOLERANCE) + TOLERANCE)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """The nearest point of the ball around ``x``, then of [0, 1] (which never leaves the ball)."""
        delta = x_adv - x
        if self.norm == "Linf":
            delta = delta.clamp(-self.eps, self.eps)
        else:
            delta = delta * (self.eps / _norms(delta)).clamp(max=1)
        return (x + delta).clamp(0, 1)

    def step(self, x_adv: Tensor, gradient: Tensor, x: Tensor, size: float) -> Tensor:
        """One projected step of steepest ascent of length ``size`` along ``gradient``."""
        return self.project(x_adv + size * self.direction(gradient), x)

    def direction(self, gradient: Tensor) -> Tensor:
        """Of length 1 in this norm, the direction (N, ...) in which a function with that gradient rises fastest.

        A gradient of zeros gives zeros. The scale of a gradient is of no account, however large or small.
        """
        if self.norm == "Linf":
            return gradient.sign()
        scaled = gradient / _broadcast(gradient.flatten(1).abs().amax(1), gradient).clamp(min=_SMALLEST)
        return scaled / _norms(scaled)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """How far a function with that gradient (N, ...) rises along a step of length 1 in this norm: (N,)."""
        norm: Tensor = torch.linalg.vector_norm(gradient.flatten(1), 1 if self.norm == "Linf" else 2, dim=1)
        return norm

    def random_start(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """A uniformly random point of the ball around each image, cut to [0, 1]."""
        if self.norm == "Linf":
            noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) * 2 - 1
            return self.project(x + self.eps * noise, x)
        noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        radius = torch.rand(x.shape[0], generator=generator, device=x.device, dtype=x.dtype)
        radius = radius.pow(1 / x[0].numel()).view(-1, *[1] * (x.dim() - 1))
        return self.project(x + self.eps * radius * noise / _norms(noise), x)


def _number(name: str, value: object) -> float:
    """A number, or a text such as ``8/255``."""
    if isinstance(value, str):
        return float(parse_value(name, value, float))
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise HarnessError(f"{name} must be a number, for example 8 / 255, got {value!r}") from error


def _norms(delta: Tensor) -> Tensor:
    """L2 norms per example, shaped to broadcast, never zero."""
    return _broadcast(torch.linalg.vector_norm(delta.flatten(1), dim=1).clamp(min=1e-12), delta)


def _broadcast(values: Tensor, images: Tensor) -> Tensor:
    """One value per example, (N,), shaped to broadcast over (N, ...)."""
    return values.view(-1, *[1] * (images.dim() - 1))
