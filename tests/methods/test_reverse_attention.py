"""Reverse attention agrees with its equations, written out here, in every family of models."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Heads, Inputs, declared_views
from harness.models.preact_resnet import PreActBlock, PreActResNet
from harness.models.resnet import BasicBlock, Bottleneck, ResNet, Stages
from harness.models.small_cnn import SmallCNN
from harness.models.wide_resnet import WideResNet
from methods.reverse_attention import ReverseAttentionNetwork

CLASSES = 5
GREY = Inputs(1, 8, mean=(0.5,), std=(0.25,))
FAMILIES = {
    "small-cnn": lambda: SmallCNN(CLASSES, GREY),
    "resnet": lambda: ResNet(Stages(BasicBlock, (1, 1, 1, 3), 8), CLASSES, GREY),
    "bottleneck": lambda: ResNet(Stages(Bottleneck, (1, 1, 1, 2), 8), CLASSES, GREY),
    "preactresnet": lambda: PreActResNet(Stages(PreActBlock, (1, 1, 1, 2), 8), CLASSES, GREY),
    "wrn": lambda: WideResNet(16, 1, CLASSES, GREY),
}


def attended(name: str) -> ReverseAttentionNetwork:
    return ReverseAttentionNetwork(FAMILIES[name]())


class Parts(NamedTuple):
    """A model taken apart by the names of its layers: all before the last two blocks, those two, and the rest."""

    trunk: Callable[[Tensor], Tensor]
    last: Sequence[nn.Module]
    finish: Callable[[Tensor], Tensor]
    classifier: nn.Linear


def parts(name: str, m: nn.Module) -> Parts:
    if name == "small-cnn":
        return Parts(lambda x: m.conv2(m.conv1(x)), [m.conv3, m.conv4], lambda h: h, m.linear)
    if name == "wrn":
        trunk = nn.Sequential(m.conv1, m.block1.layer, m.block2.layer, *m.block3.layer[:-2])
        return Parts(trunk, m.block3.layer[-2:], lambda h: m.bn1(h).clamp(min=0), m.fc)
    stages = nn.Sequential(m.layer1, m.layer2, m.layer3, *m.layer4[:-2])
    if name == "preactresnet":
        return Parts(lambda x: stages(m.conv1(x)), m.layer4[-2:], lambda h: m.bn(h).clamp(min=0), m.linear)
    return Parts(lambda x: stages(m.bn1(m.conv1(x)).clamp(min=0)), m.layer4[-2:], lambda h: h, m.linear)


def equations(name: str, model: nn.Module, x: Tensor, mask: Callable[[Tensor, Tensor], Tensor]) -> Heads:
    """z_k = finish(block_k(z'_{k-1})), p_k = W gap(z_k) + b, z'_k = z_k * mask(p_k, W), logits = W gap(z'_2) + b."""
    trunk, last, finish, classifier = parts(name, model.network)
    W, b = classifier.weight, classifier.bias
    masked, auxiliary = trunk((x - 0.5) / 0.25), []
    for block in last:
        z = finish(block(masked))
        p = torch.einsum("ndhw,kd->nk", z, W) / z[0, 0].numel() + b
        auxiliary.append(p)
        masked = torch.einsum("ndhw,nd->ndhw", z, mask(p, W))
    features = masked.sum((2, 3)) / masked[0, 0].numel()
    return Heads(features @ W.T + b, tuple(auxiliary), features)


def by_label(y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda p, W: torch.stack([W[label] for label in y.tolist()])


def by_prediction(p: Tensor, W: Tensor) -> Tensor:
    return torch.stack([W[max(range(CLASSES), key=row.__getitem__)] for row in p.tolist()])


def softmax(p: Tensor) -> Tensor:
    return p.exp() / p.exp().sum(1, keepdim=True)


def by_straight_through(p: Tensor, W: Tensor) -> Tensor:
    return by_softmax(p, W) + by_prediction(p, W).detach() - by_softmax(p, W).detach()


def without(p: Tensor, W: Tensor) -> Tensor:
    return torch.ones(len(p), W.shape[1], dtype=W.dtype)


def by_softmax(p: Tensor, W: Tensor) -> Tensor:
    return softmax(p) @ W


@pytest.fixture(params=FAMILIES)
def family(request) -> tuple[str, nn.Module]:
    """A small member of each family in float64, with random BatchNorm statistics and decided predictions."""
    torch.manual_seed(3)
    model = attended(request.param).double()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.3, 0.3)
    nn.init.normal_(model.network.classifier.weight, std=0.3)
    return request.param, model


@pytest.fixture
def x() -> Tensor:
    return torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def other_labels(model: nn.Module, x: Tensor) -> Tensor:
    """Labels that no head predicts, as far as there are enough classes."""
    heads = copy.deepcopy(model).heads(x)
    guesses = [logits.argmax(1) for logits in (*heads.auxiliary, heads.logits)]
    return torch.tensor([min(set(range(CLASSES)) - {int(g[i]) for g in guesses}) for i in range(len(x))])


def assert_same(ours: Heads, expected: Heads) -> None:
    assert len(ours.auxiliary) == len(expected.auxiliary) == 2
    for ours_, expected_ in zip((*ours.auxiliary, *ours[::2]), (*expected.auxiliary, *expected[::2]), strict=True):
        torch.testing.assert_close(ours_, expected_, atol=1e-9, rtol=1e-9)


def test_in_training_the_label_chooses_the_mask(family, x):
    """With labels that are not the predictions, BatchNorm on batch statistics."""
    name, model = family
    y = other_labels(model, x)
    expected = equations(name, copy.deepcopy(model), x, by_label(y))
    assert_same(model.heads(x, y), expected)
    assert not torch.allclose(expected.logits, model.heads(x).logits, atol=1e-3)


def test_in_training_without_labels_the_prediction_chooses_the_mask(family, x):
    name, model = family
    assert_same(model.heads(x), equations(name, copy.deepcopy(model), x, by_prediction))


def test_in_evaluation_the_prediction_chooses_the_mask_whatever_the_label(family, x):
    """Labels given to a model in evaluation mode change nothing: no answer leaks into a verdict."""
    name, model = family
    model.eval()
    expected = equations(name, model, x, by_prediction)
    assert_same(model.heads(x), expected)
    assert_same(model.heads(x, other_labels(model, x)), expected)
    torch.testing.assert_close(model(x), expected.logits)


def test_gradients_equal_those_of_the_equations(family, x):
    """To every parameter and to the images, for logits and auxiliaries together, in both modes."""
    name, model = family
    x.requires_grad_()
    leaves = [x, *model.parameters()]
    y = other_labels(model, x)
    for mode, labels, mask in ((True, y, by_label(y)), (False, None, by_prediction)):
        model.train(mode)
        gradients = []
        for heads in (model.heads(x, labels), equations(name, model, x, mask)):
            loss = sum(F.cross_entropy(logits, y) for logits in (heads.logits, *heads.auxiliary))
            gradients.append(torch.autograd.grad(loss, leaves))
        for ours, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-9, rtol=1e-7)


def test_the_mask_passes_gradient_to_the_weight_and_none_through_argmax(family, x):
    """Against central differences in W and in x, at which the predicted class stays the same."""
    name, model = family
    model.eval()
    weight = model.network.classifier.weight
    generator = torch.Generator().manual_seed(1)
    h = 1e-7
    for leaf in (weight, x.requires_grad_()):
        (gradient,) = torch.autograd.grad(model(x).pow(2).sum(), leaf)
        direction = torch.randn(leaf.shape, generator=generator, dtype=torch.float64)
        values = []
        with torch.no_grad():
            for step in (h, -h):
                leaf.add_(step * direction)
                values.append(model(x).pow(2).sum())
                leaf.sub_(step * direction)
        numeric = (values[0] - values[1]) / (2 * h)
        torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-3, atol=1e-4)

    frozen = equations(name, model, x, lambda p, W: by_prediction(p, W).detach()).logits
    (constant_mask,) = torch.autograd.grad(frozen.pow(2).sum(), weight)
    (whole,) = torch.autograd.grad(model(x).pow(2).sum(), weight)
    assert not torch.allclose(whole, constant_mask, rtol=1e-2)


def test_each_view_equals_its_formula(family, x):
    """Values and gradients to the images; only the soft masks have gradient through p into the mask."""
    name, model = family
    model.eval()
    x.requires_grad_()
    target = torch.arange(len(x)) % CLASSES
    masks = (by_prediction, by_softmax, by_straight_through, without, by_label(target))
    hard, soft, straight, bare, aimed = (equations(name, model, x, mask) for mask in masks)
    expected = {
        "auxiliary-1": hard.auxiliary[0],
        "auxiliary-2": hard.auxiliary[1],
        "auxiliary-sum": sum(softmax(logits) for logits in (*hard.auxiliary, hard.logits)).log(),
        "soft-mask": soft.logits,
        "straight-through": straight.logits,
        "no-mask": bare.logits,
        "fixed-mask": aimed.logits,
    }
    views = declared_views(model)
    assert views.keys() == expected.keys()
    for key, view in views.items():
        seen = view(x, target) if key == "fixed-mask" else view(x)
        torch.testing.assert_close(seen, expected[key], atol=1e-9, rtol=1e-9, msg=key)
        ours, theirs = (
            torch.autograd.grad(logits.logsumexp(1).sum(), x, retain_graph=True)[0] for logits in (seen, expected[key])
        )
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=1e-7, msg=key)
    assert not torch.allclose(expected["soft-mask"], hard.logits, atol=1e-3)
    torch.testing.assert_close(expected["straight-through"], hard.logits)


def test_views_share_the_model_but_are_no_part_of_it(x):
    """Same parameters, same mode, and the model's modules are what they were before."""
    model = attended("small-cnn").double().eval()
    before = list(model.modules())
    for view in model.attack_views().values():
        assert {id(p) for p in view.parameters()} == {id(p) for p in model.parameters()}
        assert not view.training
        assert not any(module.training for module in view.modules())
        old = view(x)
        with torch.no_grad():
            model.network.linear.bias[0] += 1
        assert not torch.allclose(view(x), old)
    assert list(model.modules()) == before


def test_plain_models_of_every_family_have_no_auxiliaries_and_no_views():
    for build in FAMILIES.values():
        model = build()
        assert model.heads(torch.rand(2, 1, 8, 8)).auxiliary == ()
        assert declared_views(model) == {}


def test_weights_have_the_names_of_the_network_itself(tmp_path):
    """They are exchanged with a plain one, also from inside another module, a copy or a moving average."""
    model, plain = attended("resnet"), FAMILIES["resnet"]()
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())
    model.load_state_dict(plain.state_dict())
    averaged = torch.optim.swa_utils.AveragedModel(model)
    wrapped = nn.Sequential(nn.Identity(), copy.deepcopy(model))
    for outer, prefix in ((averaged, "module."), (wrapped, "1.")):
        names = {name.removeprefix(prefix) for name in outer.state_dict()} - {"n_averaged"}
        assert names == plain.state_dict().keys()
        outer.load_state_dict(outer.state_dict())
    state = {name: value + 1 for name, value in plain.state_dict().items()}
    model.load_state_dict(state)
    assert all(torch.equal(value, state[name]) for name, value in model.network.state_dict().items())
    with pytest.raises(RuntimeError, match="Missing key"):
        model.load_state_dict({name: value for name, value in state.items() if name != "linear.bias"})
    with pytest.raises(RuntimeError, match="Unexpected key"):
        model.load_state_dict(state | {"extra": torch.zeros(1)})


def test_a_network_too_short_or_too_narrow_is_refused():
    with pytest.raises(HarnessError, match=r"a block of 32 channels where the classifier takes 64; choose a deeper"):
        ReverseAttentionNetwork(WideResNet(10, 1, CLASSES, GREY))


def test_channels_last_stays_channels_last_through_the_mask():
    """The masked map reaches the last block in the memory format it came in, with the same logits."""
    torch.manual_seed(0)
    model = attended("resnet").eval()
    x = torch.rand(4, 1, 32, 32)
    expected, seen = model(x), []
    model.network.layer4[2].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    out = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert seen[0].shape[2:] == (4, 4)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


def test_autocast_keeps_the_masked_map_in_half_precision():
    """The float32 weight W does not promote the large tensor z."""
    model, seen = attended("small-cnn").eval(), []
    model.network.conv4.register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.rand(2, 1, 8, 8))
    assert seen == [torch.bfloat16]


def test_the_forward_pass_compiles_into_one_graph():
    """No branch depends on data: ``fullgraph`` raises at the first that does."""
    model = attended("small-cnn").eval()
    x, y = torch.rand(2, 1, 8, 8), torch.tensor([0, 1])
    compiled = torch.compile(model.heads, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x).logits, model(x))
    model.train()
    expected = copy.deepcopy(model).heads(x, y).logits
    torch.testing.assert_close(compiled(x, y).logits, expected)
