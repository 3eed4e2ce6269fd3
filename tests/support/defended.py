"""Linear classifiers of known margin behind every kind of obstacle to gradients, each as a small module."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from oracles import Linear
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.views.choice import derived_views

THREAT = Threat("Linf", 0.05)
IMAGE = (3, 6, 6)


def derive(model: nn.Module, x: Tensor, threat: Threat = THREAT, seed: int = 0) -> dict[str, nn.Module]:
    """The views of a model that describes none, derived on the first 16 images."""
    return derived_views(model, x[:16], threat, generator=torch.Generator().manual_seed(seed))


class Behind(nn.Module):
    """``after(linear(before(x)))``: an obstacle before or after a classifier."""

    def __init__(
        self,
        linear: nn.Module,
        before: Callable[[Tensor], Tensor] = lambda x: x,
        after: Callable[[Tensor], Tensor] = lambda z: z,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.before = before
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.linear(self.before(x)))


class Backwards(torch.autograd.Function):
    """The identity, whose backward turns the gradient round."""

    @staticmethod
    def forward(ctx, x):
        return x * 1

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Separate(torch.autograd.Function):
    """The same with a separate ``setup_context``."""

    @staticmethod
    def forward(x, factor):
        return x * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.factor * gradient, None


def hidden_hook(x: Tensor) -> Tensor:
    """The identity, with a hook that turns the gradient round."""
    x = x * 1
    if x.requires_grad:
        x.register_hook(lambda gradient: -gradient)
    return x


def unseen(x: Tensor) -> Tensor:
    """The identity under no_grad."""
    with torch.no_grad():
        return x * 1


@torch.inference_mode()
def _inferred(x: Tensor) -> Tensor:
    return x * 1


def inferred(x: Tensor) -> Tensor:
    """The identity in inference mode."""
    return _inferred(x).clone()


def through_numpy(x: Tensor) -> Tensor:
    """The identity by way of a numpy array with channels last."""
    array = x.detach().cpu().permute(0, 2, 3, 1).numpy().copy()
    return torch.from_numpy(array).permute(0, 3, 1, 2).to(x)


def levels(x: Tensor) -> Tensor:
    """256 levels, through bytes."""
    return (x * 255 + 0.5).to(torch.uint8).float() / 255


def coarse(x: Tensor) -> Tensor:
    """Bytes without their lowest two bits."""
    return ((x * 255 + 0.5).byte() & 0xFC).float() / 255


def digitised(x: Tensor) -> Tensor:
    """A code book's entry for each pixel's bucket."""
    edges = torch.linspace(0, 1, 65)[1:-1]
    return torch.linspace(0, 1, 64)[torch.bucketize(x.detach(), edges)]


def data_of(x: Tensor) -> Tensor:
    """The identity, by ``data``."""
    return x.data * 1


def voted(z: Tensor) -> Tensor:
    """Labels."""
    return F.one_hot(z.argmax(1), z.shape[1]).float()


def looked_up(z: Tensor) -> Tensor:
    """Labels as rows of a table."""
    return F.embedding(z.argmax(1), torch.eye(z.shape[1]))


def scattered(z: Tensor) -> Tensor:
    """Labels as written into zeros."""
    return torch.zeros_like(z).scatter_(1, z.max(1, keepdim=True).indices, 1.0)


def counted(z: Tensor) -> Tensor:
    """Labels by comparison with each class."""
    return (z.argmax(1)[:, None] == torch.arange(z.shape[1])).float()


def _above(z: Tensor) -> Tensor:
    """How far each logit lies above the middle between the two largest (N, K)."""
    return z - z.topk(2, 1).values.mean(1, keepdim=True)


class Votes(nn.Module):
    """The labels that several models give, counted."""

    def __init__(self, *members: nn.Module) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        return sum(F.one_hot(member(x).argmax(1), 10).float() for member in self.members)


class Opaque(nn.Module):
    """Sixty-four levels in a form that nothing can trace: a list of numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.Tensor((np.array(x.tolist(), dtype=np.float32) * 255).round() / 255)


BEFORE = {
    "round": lambda x: torch.round(x * 255) / 255,
    "floor in place": lambda x: (x * 255 + 0.5).floor_() / 255,
    "floor division": lambda x: (x * 255 + 0.5) // 1 / 255,
    "remainder": lambda x: x - x % (1 / 255),
    "bytes": levels,
    "coarse bytes": coarse,
    "detach": lambda x: x.detach(),
    "data": data_of,
    "no_grad": unseen,
    "inference_mode": inferred,
    "numpy": through_numpy,
    "code book": digitised,
    "wrong backward": Backwards.apply,
    "wrong backward, separate context": lambda x: Separate.apply(x, 1.0),
    "tensor hook": hidden_hook,
}
AFTER = {
    "one-hot": voted,
    "embedding": looked_up,
    "scatter": scattered,
    "equality": counted,
    "comparison": lambda z: (_above(z) > 0).float(),
    "sign": lambda z: torch.sign(_above(z)),
    "steep": lambda z: 1e4 * z,
    "softmax": lambda z: (50 * z).softmax(1),
    "steep sigmoid": lambda z: torch.sigmoid(1e3 * _above(z)),
    "sine": lambda z: z + 0.05 * torch.sin(2000 * z),
    "gate": lambda z: torch.where((z.argmax(1) == 0)[:, None], torch.eye(z.shape[1])[0], torch.eye(z.shape[1])[1]),
    "mask": lambda z: torch.zeros_like(z).masked_fill(_above(z) > 0, 1.0),
}


def defended(linear: Linear, name: str) -> Behind:
    """The classifier behind the named obstacle."""
    return Behind(linear, before=BEFORE[name]) if name in BEFORE else Behind(linear, after=AFTER[name])


def stepped(x: Tensor) -> Tensor:
    """Pixels rounded to 1/64: no gradient comes back."""
    return (64 * x).round() / 64


class Coin(nn.Module):
    """Misreads every image with the given probability: luck, which no attack deserves."""

    def __init__(self, inner: nn.Module, chance: float) -> None:
        super().__init__()
        self.inner, self.chance = inner, chance
        self.draws = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        flip = torch.rand(len(x), 1, generator=self.draws) < self.chance
        logits = self.inner(x)
        return torch.where(flip, logits.flip(1), logits)


class Recorder(nn.Module):
    """Writes down in which precision it is asked."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x):
        logits = self.inner(x)
        self.seen.append(logits.dtype)
        return logits


def deaf(inner: nn.Module) -> Behind:
    """In low precision its logits do not depend on the image."""
    return Behind(inner, after=lambda z: z if z.dtype == torch.float32 else 0 * z + z.new_tensor([1.0, 0.0]))


def offset(inner: nn.Module, by: float) -> Behind:
    """All logits raised by one number: the same function, but bfloat16 cannot tell them apart any more."""
    return Behind(inner, after=lambda z: (z.float() + by).to(z.dtype))
