"""The stand-ins: modules from images (N, C, H, W) in [0, 1] to logits (N, K) that share the model's parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from harness.views.trace.substitutes import substituted

# Images to images with noise added.
Noise = Callable[[Tensor], Tensor]
_TINY = 1e-12


class StandIn(nn.Module):
    """A stand-in for ``model``, which is its submodule, in the same mode."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.training = model.training


class Substituted(StandIn):
    """The model with a useful backward pass; ``bridge``: see :func:`substituted`."""

    def __init__(self, model: nn.Module, *, bridge: bool = False) -> None:
        super().__init__(model)
        self.bridge = bridge

    def forward(self, x: Tensor) -> Tensor:
        """The model's own output; without gradients nothing is substituted."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            output: Tensor = self.model(x)
            return output
        images = x.clone()  # the model may ask for gradients, or write in place, which a leaf forbids
        buffers = [buffer for buffer in self.model.buffers() if not buffer.requires_grad]
        try:
            with substituted(self.model, images, bridge=self.bridge):
                output = self.model(images)
        finally:
            for buffer in buffers:
                if buffer.requires_grad:
                    buffer.detach_()
        return output


class Location(NamedTuple):
    """Where a tensor comes out: the submodule's name, which of its calls, and which element of the output."""

    name: str
    call: int
    element: int

    def __str__(self) -> str:
        later = f"#{self.call + 1}" if self.call else ""
        return f"{self.name}{later}" + (f"[{self.element}]" if self.element else "")


class Inner(StandIn):
    """What a submodule says on the way to the output, as logits."""

    def __init__(self, base: Substituted, location: Location) -> None:
        super().__init__(base)
        self.location = location

    def forward(self, x: Tensor) -> Tensor:
        """The submodule's output (N, K)."""
        return heard(self.model, x, [self.location])[1][self.location].float()


class InnerMean(StandIn):
    """The mean log-probability of several submodules, such as the members of an ensemble."""

    def __init__(self, base: Substituted, locations: list[Location]) -> None:
        super().__init__(base)
        self.locations = locations

    def forward(self, x: Tensor) -> Tensor:
        """(N, K) log-probabilities."""
        found = heard(self.model, x, self.locations)[1]
        return torch.stack([found[location].float().log_softmax(1) for location in self.locations]).mean(0)


class Rescaled(StandIn):
    """Logits divided by one constant, or the logarithm of probabilities: neither saturates the cross-entropy.

    The constant is the same for all images, so that an attack can compare the losses of its iterates.
    """

    def __init__(self, base: nn.Module, scale: float | None) -> None:
        super().__init__(base)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, K) logits whose gaps are those of an ordinary network."""
        output: Tensor = self.model(x).float()
        return (output + _TINY).log() if self.scale is None else output / self.scale


class Expectation(StandIn):
    """The mean log-probability over forward passes of a random model (EOT); https://arxiv.org/abs/1802.00420."""

    def __init__(self, base: nn.Module, samples: int = 10) -> None:
        super().__init__(base)
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        """(N, K) log-probabilities."""
        return torch.stack([self.model(x).float().log_softmax(1) for _ in range(self.samples)]).mean(0)


class Smoothed(StandIn):
    """The mean log-probability over noisy copies of the images."""

    def __init__(self, base: nn.Module, noise: Noise, samples: int = 8) -> None:
        super().__init__(base)
        self.noise = noise
        self.samples = samples

    def forward(self, x: Tensor) -> Tensor:
        """(N, K) log-probabilities."""
        noisy = (self.model(self.noise(x)).float().log_softmax(1) for _ in range(self.samples))
        return torch.stack(list(noisy)).mean(0)


class ZerothOrder(StandIn):
    """Finite differences of the noise-smoothed output in random directions, for a model that nothing differentiates.

    Each pair of directions u, -u gives f(x + u) and f(x - u), whose difference estimates a derivative of the mean
    output; Ilyas et al. 2018, https://arxiv.org/abs/1804.08598 (NES). 2 ``pairs`` forward passes, no backward.
    """

    def __init__(self, model: nn.Module, noise: Noise, pairs: int = 32) -> None:
        super().__init__(model)
        self.noise = noise
        self.pairs = pairs

    def forward(self, x: Tensor) -> Tensor:
        """The mean output (N, K) over the noise."""
        result: Tensor = _FiniteDifference.apply(x, self.model, self.noise, self.pairs)
        return result


class _FiniteDifference(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, model: nn.Module, noise: Noise, pairs: int) -> Tensor:
        directions = [noise(x) - x for _ in range(pairs)]
        ctx.outputs = [(model(x + u).float(), model((x - u).clamp(0, 1)).float()) for u in directions]
        ctx.directions = directions
        return torch.stack([(up + down) / 2 for up, down in ctx.outputs]).mean(0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        total = torch.zeros_like(ctx.directions[0])
        for u, (up, down) in zip(ctx.directions, ctx.outputs, strict=True):
            rise = ((up - down) * gradients[0]).sum(1) / 2
            total += rise.view(-1, *[1] * (u.dim() - 1)) * u / u.square().mean()
        return total / len(ctx.directions), None, None, None


def heard(view: nn.Module, x: Tensor, locations: list[Location] | None = None) -> tuple[Tensor, dict[Location, Tensor]]:
    """The view's output, and what came out of its model's submodules at these locations (or at all of them)."""
    found: dict[Location, Tensor] = {}
    names = None if locations is None else {location.name for location in locations}
    with _listening(view.model, names, found):  # type: ignore[arg-type]
        output: Tensor = view(x)
    return output, found


@contextmanager
def _listening(model: nn.Module, names: set[str] | None, found: dict[Location, Tensor]) -> Iterator[None]:
    calls: dict[str, int] = {}

    def listen(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hear(module: nn.Module, inputs: Any, output: Any) -> None:
            call = calls[name] = calls.get(name, -1) + 1
            for element, each in enumerate(output if isinstance(output, tuple | list) else (output,)):
                if isinstance(each, Tensor) and each.dim() == 2 and each.is_floating_point():
                    found[Location(name, call, element)] = each

        return hear

    inside = [(name, module) for name, module in model.named_modules() if name]
    handles = [module.register_forward_hook(listen(name)) for name, module in inside if names is None or name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
