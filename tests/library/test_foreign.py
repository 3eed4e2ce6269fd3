"""Whatever a user's model is or does, the right number or one sentence."""

import numpy as np
import pytest
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images
from torch import nn

import harness
from harness import HarnessError

THREAT = harness.Threat("Linf", 0.1)
STANDING = [False, False, True, True, True, False]
ATTACKS = ["fgsm", "pgd-5", "adaptive:steps=5"]


def network(*first):
    """A small network with its own seed, behind the layers ``first``."""
    torch.manual_seed(0)
    return nn.Sequential(*first, nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).eval()


def pixels():
    """Images with plenty of zeros and ones, and what a network says of them."""
    x = (2 * torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0)) - 0.5).clamp(0, 1)
    return x, network()(x).argmax(1)


class Normalised(nn.Module):
    def __init__(self, in_place):
        super().__init__()
        self.inner, self.in_place = network(), in_place

    def forward(self, x):
        if self.in_place:
            return self.inner(x.sub_(0.1).div_(0.9))
        return self.inner(x.sub(0.1).div(0.9))


class First(nn.Module):
    """A layer before the network, in place or not."""

    def __init__(self, in_place):
        super().__init__()
        self.inner = network(nn.ReLU(inplace=in_place))

    def forward(self, x):
        return self.inner(x)


@pytest.mark.parametrize("build", [Normalised, First])
def test_in_place_changes_nothing(build):
    """A model that writes into its images: equal numbers bit for bit, and the caller's tensors as they were."""
    x, y = pixels()
    found = []
    for in_place in (True, False):
        given = x.clone()
        found.append(harness.evaluate(build(in_place), given, y, threat=THREAT, attacks=ATTACKS))
        assert torch.equal(given, x)
    assert found[0].accuracy == found[1].accuracy
    assert found[0].broken_by == found[1].broken_by
    assert all(torch.equal(found[0].verdicts[name], found[1].verdicts[name]) for name in found[0].verdicts)
    assert found[0].findings == found[1].findings


class Lengthy(nn.ModuleList):
    """A module with a length of zero, which Python takes for false."""

    def __init__(self):
        super().__init__()
        self.inner = [Threshold()]

    def forward(self, x):
        return self.inner[0](x)


class Halfway(nn.Linear):
    """Threshold on flat images, in a form that a script can hold."""

    def __init__(self):
        super().__init__(16, 2)
        self.load_state_dict({"weight": torch.tensor([[0.0] * 16, [6.25] * 16]), "bias": torch.tensor([0.0, -50.0])})


def frozen():
    return torch.jit.freeze(torch.jit.trace(Threshold().eval(), constant_images([0.3, 0.6]), check_trace=False))


def function():
    return Threshold().forward


KINDS = {
    "function": function,
    "compiled": lambda: torch.compile(Threshold(), backend="eager"),
    "traced": lambda: torch.jit.trace(Threshold(), constant_images([0.3, 0.6]), check_trace=False),
    "frozen": frozen,
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Flatten(), Halfway())),
    "empty container": Lengthy,
    "double": lambda: Threshold().double(),
    "half": lambda: Threshold().half(),
    "bfloat16": lambda: Threshold().bfloat16(),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:The .grad attribute:UserWarning")
@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_any_kind_of_model_gets_the_right_numbers(kind):
    """The margins are known; those of half and bfloat16 are nowhere near the threshold."""
    x = constant_images(MARGINS)
    result = harness.evaluate(kind(), x, LABELS, threat=THREAT, attacks=["fgsm", "pgd-20", "autoattack"])
    assert result.verdicts["autoattack"].tolist() == STANDING
    assert result.verdicts["fgsm"].tolist() == STANDING
    assert result.accuracy["natural"] == pytest.approx(5 / 6)


class Answering(Threshold):
    """The same logits, wrapped up."""

    def __init__(self, wrapping):
        super().__init__()
        self.wrapping = wrapping

    def forward(self, x):
        return self.wrapping(super().forward(x))


class Named:
    def __init__(self, logits):
        self.logits = logits


@pytest.mark.parametrize("wrapping", [Named, lambda z: {"logits": z, "loss": None}], ids=["attribute", "key"])
def test_logits_by_name_are_found(wrapping):
    result = harness.evaluate(Answering(wrapping), constant_images(MARGINS), LABELS, threat=THREAT, attacks="pgd-20")
    assert result.verdicts["pgd-20"].tolist() == STANDING


def raising(z):
    raise ValueError("not today")


@pytest.mark.parametrize(
    ("wrapping", "message"),
    [
        (lambda z: (z, z), r"must return a tensor of logits \(N, classes\), got a tuple of 2: wrap it, for example"),
        (lambda z: {"output": z}, r"got a dict of 1: wrap it"),
        (lambda z: None, r"got a NoneType: wrap it"),
        (lambda z: z[:, :1], r"has a single output: return one logit for each of at least two classes"),
        (lambda z: z[:, 0], r"logits of shape \(N, classes\), got \(6,\) for 6 images"),
        (raising, r"fails on images \(N, C, H, W\) = \(6, 1, 4, 4\): ValueError: not today$"),
    ],
)
def test_other_answers_are_refused_in_a_sentence(wrapping, message):
    with pytest.raises(HarnessError, match=message):
        harness.evaluate(Answering(wrapping), constant_images(MARGINS), LABELS, threat=THREAT, attacks=["fgsm"])


X = constant_images(MARGINS)
INPUTS = {
    "numpy": (X.numpy(), LABELS.numpy()),
    "double": (X.double(), LABELS.to(torch.uint8)),
    "numpy bytes": ((X.numpy() * 255).round().astype(np.uint8), LABELS.numpy().astype(np.int32)),
    "lists": (X.tolist(), LABELS.tolist()),
    "unsigned labels": (X, LABELS.numpy().astype(np.uint64)),
    "flipped": (np.flip(np.flip(X.numpy())), np.flip(np.flip(LABELS.numpy()))),
    "big-endian": (X.numpy().astype(">f4"), LABELS.numpy().astype(">i8")),
    "sparse": (X.to_sparse(), LABELS),
    "permuted": (X.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2), LABELS),
    "with a gradient": (X.clone().requires_grad_(), LABELS),
    "rounding below 0": (X.index_fill(2, torch.tensor([0]), -2.98e-8), LABELS),
    "rounding above 1": (X.index_fill(2, torch.tensor([0]), 1 + 1e-7), LABELS),
}


@pytest.mark.parametrize(("x", "y"), INPUTS.values(), ids=list(INPUTS))
def test_unambiguous_inputs_are_converted(x, y, request):
    """The same numbers as for the plain images: none but the first is within 0.06 of the threshold."""
    found = harness.evaluate(Threshold(), x, y, threat=harness.Threat("Linf", 0.06), attacks=["fgsm"])
    rounding = "rounding" in request.node.callspec.id
    assert found.verdicts["fgsm"].shape == (6,)
    if not rounding:
        assert found.verdicts["fgsm"].tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X * 1.00001 + 0.06}, r"must lie in \[0, 1\], got values from 0.3600[0-9]* to 1.010009"),
        ({"x": "images"}, r"images must be a tensor, or an array or list of numbers"),
        ({"x": [[1.0], [1.0, 2.0]]}, r"images must be a tensor, or an array or list of numbers"),
        ({"y": LABELS.bool()}, r"labels must be class numbers, integers of shape \(6,\), got torch.bool \(6,\)"),
        ({"batch_size": 0}, r"batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": -3}, r"batch_size must be a whole number of at least 1, got -3"),
        ({"batch_size": "4"}, r"batch_size must be a whole number of at least 1, got '4'"),
        ({"attacks": None}, r"attacks must be names, for example \['fgsm', 'pgd-20'\], got None"),
        ({"attacks": [5]}, r"attacks must be names, .* got \[5\]"),
        ({"y": LABELS + 1j}, r"labels must be class numbers, integers of shape \(6,\), got torch.complex64"),
        ({"device": "meta"}, r"cannot work on device 'meta', which computes nothing"),
        ({"model": torch.nn.Linear(1, 1, device="meta")}, r"weights are on the device 'meta', which holds none"),
        (
            {"model": nn.Conv2d(1, 2, 3), "x": X.repeat(1, 1, 1, 3).permute(0, 1, 2, 3).reshape(6, 4, 4, 3)},
            r"\(N, H, W, C\)",
        ),
        ({"attacks": "fgms"}, r"unknown attack 'fgms'. Did you mean 'fgsm'"),
        ({"threat": ("Linf", 0.1)}, r"threat must be a harness.Threat, for example"),
        ({"model": 5}, r"a model must be callable with images, got int"),
    ],
)
def test_what_is_ambiguous_is_refused_in_a_sentence(changes, message):
    given = {"model": Threshold(), "x": X, "y": LABELS, "threat": THREAT, "attacks": ["fgsm"]} | changes
    with pytest.raises(HarnessError, match=message):
        harness.evaluate(given.pop("model"), given.pop("x"), given.pop("y"), **given)


@pytest.mark.parametrize("threat", [harness.Threat("Linf", 0.05), harness.Threat("L2", 0.5)], ids=str)
def test_images_need_not_be_square(threat):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(54, 4))
    x = 0.2 + 0.6 * torch.rand(8, 1, 6, 9)
    y = model(x).argmax(1)
    gaps = model(x).gather(1, y[:, None]) - model(x)
    rows = model[1].weight[y][:, None] - model[1].weight[None]
    reach = threat.eps * threat.dual_norm(rows.flatten(0, 1)).view(8, 4)
    robust = ((gaps > reach) | (torch.arange(4)[None] == y[:, None])).all(1)
    found = harness.evaluate(model, x, y, threat=threat, attacks=["autoattack"], diagnostics=False)
    assert torch.equal(found.verdicts["autoattack"], robust)
