"""Convolutions that are computed otherwise are the same convolutions."""

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.compute.convolutions import cheaper_convolutions, dense, thin, winograd
from harness.compute.convolutions.winograd import convolved, transformed
from harness.compute.modes import computing_in, frozen


def _draws(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def convolution() -> Iterator[nn.Conv2d]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield nn.Conv2d(128, 160, 3, padding=1)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (16, 4)])
def test_the_transforms_give_the_direct_convolution(height: int, width: int) -> None:
    """In float64 no more than the rounding of the transforms, which are in float32, could differ."""
    x, weight = _draws(2, 5, height, width), _draws(7, 5, 3, 3)
    wanted = F.conv2d(x.double(), weight.double(), padding=1)
    assert torch.allclose(convolved(x, transformed(weight)).double(), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("way", "channels", "filters", "size"),
    [
        (winograd, 128, 160, (8, 8)),
        (thin, 1, 32, (8, 8)),
        (thin, 3, 32, (5, 7)),
        (dense, 5, 7, (2, 2)),
        (dense, 64, 64, (1, 3)),
        (dense, 3, 40, (2, 4)),  # before thin, which would serve it too
    ],
)
@pytest.mark.parametrize("bias", [False, True])
def test_values_and_gradients_are_those_of_the_module(
    way: ModuleType, channels: int, filters: int, size: tuple[int, int], bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Conv2d(channels, filters, 3, padding=1, bias=bias)
    taken, convolve = [], way.convolve
    monkeypatch.setattr(way, "convolve", lambda *given: taken.append(way) or convolve(*given))

    def look() -> tuple[Tensor, Tensor]:
        x = _draws(8, channels, *size).requires_grad_()
        y = module(x)
        (gradient,) = torch.autograd.grad((y * _draws(*y.shape)).sum(), x)
        return y, gradient

    with frozen(module):
        wanted = look()
        with cheaper_convolutions(module):
            found = look()
    assert taken == [way]
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_what_it_does_not_serve_is_left_alone(convolution: nn.Conv2d) -> None:
    """Weights that want a gradient, maps that are no whole tiles, few tiles, and low precision."""
    whole, odd, few = _draws(4, 128, 8, 8), _draws(4, 128, 9, 8), _draws(3, 128, 8, 8)
    with torch.no_grad():
        wanted = [convolution(x) for x in (whole, odd, few)]
        with computing_in("bfloat16", whole.device):
            rough = convolution(whole)
    with cheaper_convolutions(convolution):
        assert torch.equal(convolution(whole), wanted[0])
        with torch.no_grad(), frozen(convolution):
            assert torch.equal(convolution(odd), wanted[1])
            assert torch.equal(convolution(few), wanted[2])
            with computing_in("bfloat16", whole.device):
                assert torch.equal(convolution(whole), rough)


def test_the_module_is_given_back_after_an_error(convolution: nn.Conv2d) -> None:
    before = dict(vars(convolution))

    def fail() -> None:
        with cheaper_convolutions(convolution, convolution):
            assert "forward" in vars(convolution)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert vars(convolution) == before
