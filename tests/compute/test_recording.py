"""Recorded passes are the plain ones, however they are used; without a GPU the recordings are rehearsed."""

import random

import pytest
import torch
from rehearsed import rehearse
from synchronising import Synchronisations
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.api.attack import Proposal
from harness.api.method import methods
from harness.api.model import Inputs, heads_of, models
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute import recording
from harness.compute.modes import computing_in, frozen
from harness.compute.passes import counting
from harness.compute.randomness import seeded
from harness.compute.recording import SWITCH, recorded
from harness.models.resnet import BasicBlock, ResNet, Stages
from harness.models.small_cnn import SmallCNN
from methods.reverse_attention import ReverseAttentionNetwork

INPUTS = Inputs(1, 8)
CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def on(monkeypatch):
    """The switch."""
    monkeypatch.setenv(SWITCH, "1")
    if DEVICE.type == "cpu":
        monkeypatch.setattr(recording, "record", rehearse)


def network(kind="plain", device=DEVICE):
    """With weights that tell images apart."""
    with seeded("network"):
        inner = SmallCNN(10, INPUTS) if kind == "plain" else ResNet(Stages(BasicBlock, (1, 1, 1, 2), 8), 10, INPUTS)
    model = inner if kind == "plain" else ReverseAttentionNetwork(inner)
    with torch.no_grad():
        for _ in range(50):
            inner(images(100, device=CPU))  # statistics of the norms
        inner.classifier.weight *= 5
        inner.classifier.bias -= model.eval()(images(100, device=CPU)).mean(0)
    return model.to(device)


def images(count=20, seed=0, device=DEVICE):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed)).to(device)


def sizes(model):
    return sorted(key[0] for key in recording._recordings[model].kept)


@pytest.mark.parametrize("kind", ["plain", "reverse attention"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_logits_and_gradients_are_those_of_the_plain_pass(kind, precision, on):
    """Twenty images in a recording for 32, then other ones, when the weights have changed in place."""
    model = network(kind)

    def outcome(seed):
        x = images(seed=seed).requires_grad_()
        with computing_in(precision, DEVICE):
            heads = heads_of(model, x)
        logits = torch.cat([heads.logits, *heads.auxiliary], 1)
        return logits, torch.autograd.grad(logits.logsumexp(1).sum(), x)[0]

    with frozen(model):
        for seed in range(2):
            wanted = outcome(seed)
            with recorded(model):
                found = outcome(seed)
            assert sizes(model) == [32]
            for one, other in zip(found, wanted, strict=True):
                assert (one - other).abs().max() < (1e-3 if precision == "float32" else 2e-2) * other.abs().max()
            for parameter in model.parameters():
                parameter.data.mul_(1.1)
        model.to(torch.float64).to(torch.float32)  # elsewhere in memory
        with recorded(model):
            assert sizes(model) == []


class Scaled(nn.Module):
    """A stand-in: the same logits times two."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


@pytest.mark.parametrize("name", ["pgd-4", "adaptive-4"])
def test_an_attack_has_the_same_verdicts_and_passes(name, on):
    """With a stand-in that shares the layers, and fewer and fewer images."""
    model = network()
    x, views = images(40), {"scaled": Scaled(model)}
    with torch.no_grad():
        y = model(x).argmax(1)
    outcomes = []
    for within in ((), (model, *views.values())):
        with recorded(*within), counting(model) as count:
            draws = torch.Generator(DEVICE).manual_seed(0)
            found = resolve(name)(model, x, y, Threat("Linf", 0.02), generator=draws, views=views)
        x_adv = Proposal.of(found).x_adv
        with torch.no_grad():
            outcomes.append((model(x_adv).argmax(1).eq(y).tolist(), count()))
    assert outcomes[0] == outcomes[1]
    assert 0 < sum(outcomes[0][0]) < len(x)
    assert len(set(sizes(model))) > 1


def test_a_gradient_that_comes_late_or_twice_is_that_of_its_own_images(on):
    model, first, second = network(), images(seed=1).requires_grad_(), images(seed=2).requires_grad_()

    def gradients():
        one, two = model(first).logsumexp(1).sum(), model(second).logsumexp(1).sum()
        pairs = ((two, second), (one, first), (one, first))
        return [torch.autograd.grad(value, x, retain_graph=True)[0] for value, x in pairs]

    with frozen(model):
        wanted = gradients()
        with recorded(model), counting(model) as count:
            found = gradients()
    assert sizes(model) == [32]
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
    assert count() == (40, 60)


class Moody(nn.Module):
    """Throws a coin in Python, which a recording would throw once and for all."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, x):
        return self.inner(x) * random.choice([1, -1, 2, -2, 3, -3])


def test_what_says_something_else_every_time_is_not_recorded(on, caplog):
    random.seed(0)
    model = Moody().eval()
    with recorded(model):
        answers = {float(model(images())[0, 0].detach()) for _ in range(20)}
    assert len(answers) > 2
    assert [message.partition(" cannot")[0] for message in caplog.messages] == ["Moody"]


def test_where_recording_fails_one_warning_is_all(monkeypatch, caplog):
    """As it does on a CPU. A module that is none of ours is not tried."""
    monkeypatch.setenv(SWITCH, "1")
    model, other, x = network(device=CPU), nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images(device=CPU)
    wanted = model(x), other(x)
    with recorded(model, other):
        for _ in range(2):
            assert torch.equal(model(x), wanted[0])
            assert torch.equal(other(x), wanted[1])
    assert [message.partition(" cannot be recorded")[0] for message in caplog.messages] == ["SmallCNN"]
    assert not {"heads", "forward"} & vars(model).keys()


def test_nothing_is_recorded_unless_it_is_asked_for(monkeypatch):
    monkeypatch.delenv(SWITCH, raising=False)
    model = network()
    with recorded(model):
        model(images())
        assert "heads" not in vars(model)


class Operations(TorchDispatchMode):
    """The names of all operations, in order."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", ["pgd-at", "pgd-at-ra"])
@pytest.mark.parametrize("name", list(models))
def test_a_pass_of_every_model_is_one_fixed_sequence_that_never_waits(name, method):
    """Whatever the images: what a CUDA graph, and a compiler that takes the model whole, must rely on."""
    with torch.device("meta"):
        model = methods[method]().build_model(name, 10, Inputs(3, 8)).eval()
    model = model.to_empty(device="cpu").requires_grad_(False)
    sequences = []
    for seed in range(2):
        nn.init.constant_(next(model.parameters()), 0.01 * seed)
        x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)).requires_grad_()
        with Synchronisations() as seen, Operations() as operations:
            torch.autograd.grad(model(x).sum(), x)
        assert seen.names == []
        sequences.append(operations.names)
    assert sequences[0] == sequences[1]
    assert len(sequences[0]) > 10
