"""A folded model is the same function, and the same model afterwards."""

import pytest
import torch
from torch import Tensor, nn

from harness.api.model import Inputs, models
from harness.compute.folding import folded
from harness.compute.modes import channels_last, evaluating, frozen
from harness.models.resnet import BasicBlock, ResNet, Stages
from harness.models.wide_resnet import WideResNet
from harness.plugins import load_plugins
from methods.reverse_attention import ReverseAttentionNetwork

INPUTS = Inputs(3, 8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


@pytest.fixture(
    params=["small-cnn", "resnet18", "resnet50", "preactresnet18", "wide", "reverse attention", "wide reverse"]
)
def network(request: pytest.FixtureRequest) -> nn.Module:
    """Each family of architectures with statistics as after a training; the widest in small."""
    load_plugins()
    wide = WideResNet(16, 1, 10, INPUTS)
    special = {
        "wide": wide,
        "reverse attention": ReverseAttentionNetwork(ResNet(Stages(BasicBlock, (1, 1, 1, 2), 8), 10, INPUTS)),
        "wide reverse": ReverseAttentionNetwork(wide),
    }
    model = special[request.param] if request.param in special else models[request.param](10, INPUTS)
    draws = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.3, 0.3),
                (module.running_var, 0.5, 2.0),
                (module.weight, 0.5, 1.5),
                (module.bias, -0.3, 0.3),
            ):
                nn.init.uniform_(values, low, high, generator=draws)
    return model.train()


def _look(model: nn.Module) -> tuple[Tensor, Tensor]:
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()
    with evaluating(model), frozen(model):
        logits = model(x)
        return logits.detach(), torch.autograd.grad(logits.logsumexp(1).sum(), x)[0]


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_logits_and_gradients_stay_the_same(network: nn.Module) -> None:
    wanted = _look(network)
    with channels_last(network), folded(network):
        found = _look(network)
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max().clamp(min=1)


def test_the_model_is_given_back_after_an_error(network: nn.Module) -> None:
    """Weights, their identity, biases that were none, and the modules' own methods."""
    before, parameters = _state(network), dict(network.named_parameters())

    def fail() -> None:
        with folded(network):
            assert len(dict(network.named_parameters())) > len(parameters)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    after = _state(network)
    assert after.keys() == before.keys()
    assert dict(network.named_parameters()) == parameters
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert not any("forward" in vars(module) for module in network.modules())


def test_every_norm_that_alone_follows_a_convolution_is_folded() -> None:
    """In a residual network all; a pre-activation block's first one follows a sum."""
    wide, residual = WideResNet(16, 1, 10, INPUTS), ResNet(Stages(BasicBlock, (1, 1, 1, 1), 8), 10, INPUTS)
    for network, left in ((residual, 0), (wide, 7)):
        with folded(network):
            norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
            assert sum("forward" not in vars(norm) for norm in norms) == left


def test_a_convolution_that_something_else_sees_is_left_alone() -> None:
    """Folding it would change the other branch."""

    class Branching(ResNet):
        def stem(self, x: Tensor) -> Tensor:
            h: Tensor = self.conv1(x)
            return self.bn1(h) + h

    network = Branching(Stages(BasicBlock, (1, 1, 1, 1), 8), 10, INPUTS)
    with folded(network):
        assert "forward" not in vars(network.bn1)


def test_a_model_that_cannot_be_traced_is_left_alone() -> None:
    class Looking(ResNet):
        def stem(self, x: Tensor) -> Tensor:
            return super().stem(x) if x.sum() > 0 else x

    network = Looking(Stages(BasicBlock, (1, 1, 1, 1), 8), 10, INPUTS)
    with folded(network):
        assert not any("forward" in vars(module) for module in network.modules())
