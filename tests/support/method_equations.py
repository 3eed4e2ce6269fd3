"""The terms of the methods' papers by textbook formulas, and small models and images to try them on."""

import torch
from torch import Tensor, nn

from harness.api.method import Step
from harness.api.model import Inputs
from harness.api.threat import Threat

SEVEN = ["natural", "pgd-at", "trades", "mart", "pgd-at-ancra", "trades-ancra", "mart-ancra"]
SIX = ["pgd-at-anc", "pgd-at-ra", "trades-anc", "trades-ra", "mart-anc", "mart-ra"]
THREATS = [Threat("Linf", 0.1, 0.03), Threat("L2", 0.5, 0.15)]
CLASSES = 5


def built(method, seed: int = 0) -> nn.Module:
    """The method's own small CNN for 8x8 grey images, in training mode, with the BatchNorm statistics of the images."""
    torch.manual_seed(seed)
    model = method.build_model("small-cnn", CLASSES, Inputs(1, 8))
    nn.init.normal_(getattr(model, "network", model).linear.weight, std=0.5)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    model(images()[0])
    for norm in norms:
        norm.momentum = 0.1
    return model


def images(size: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    return torch.rand(size, 1, 8, 8, generator=generator), torch.arange(size) % CLASSES


def step(epoch: int = 1, seed: int = 3) -> Step:
    return Step(epoch, torch.Generator().manual_seed(seed))


def log_softmax(z: Tensor) -> Tensor:
    return z - z.exp().sum(1, keepdim=True).log()


def kl(p: Tensor, q: Tensor) -> Tensor:
    """The textbook sum: p log(p / q), of logits."""
    return (log_softmax(p).exp() * (log_softmax(p) - log_softmax(q))).sum(1)


def ce(z: Tensor, y: Tensor) -> Tensor:
    return -torch.stack([row[label] for row, label in zip(log_softmax(z), y.tolist(), strict=True)])


def bce(z: Tensor, y: Tensor) -> Tensor:
    p = log_softmax(z).exp()
    largest = [max(row[k] for k in range(len(row)) if k != label) for row, label in zip(p, y.tolist(), strict=True)]
    return ce(z, y) - (1.0001 - torch.stack(largest)).log()


def own_probability(z: Tensor, y: Tensor) -> Tensor:
    return (-ce(z, y)).exp()


def assert_same_gradients(model: nn.Module, loss: Tensor, twin: nn.Module, expected: Tensor) -> None:
    """Every parameter has the same gradient from ``loss`` as its twin from ``expected``, up to float32 rounding."""
    ours = torch.autograd.grad(loss, list(model.parameters()))
    theirs = torch.autograd.grad(expected, list(twin.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 5e-6 * other.norm() + 1e-7
