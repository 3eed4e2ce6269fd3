"""The zoo is what it claims to be: defences that keep the accuracy, mislead a naive attack and are not robust."""

import pytest
import torch
from torch import nn
from zoo import BROKEN, HONEST, Row, cifar, truth_of
from zoo.bases import THREAT
from zoo.inputs import Jpeg, Quantised, Shattered
from zoo.layers import KWinners, Sign, Thermometer
from zoo.table import confusion, within

import harness

# Their gradient is right on average: chance alone gains nothing under PGD (arXiv 1802.00420), so they look no stronger.
RANDOMISED = {"resized", "resized-at", "noisy-at", "dropout-at"}
WRAPPED = {name: member for name, member in BROKEN.items() if member.wrap}


class Tiny(nn.Sequential):
    """An untrained classifier of images of any size, whose classes are far apart."""

    def __init__(self, channels):
        super().__init__(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def naive_accuracy(model, x, y):
    """Under PGD-20, which only hopes where there is no gradient."""
    probe = x.clone().requires_grad_()
    logits = model(probe)
    gradient = torch.autograd.grad(logits.sum(), probe, allow_unused=True)[0] if logits.requires_grad else None
    attacks = [] if gradient is None else ["pgd-20"]
    return harness.evaluate(model, x, y, threat=THREAT, attacks=attacks, diagnostics=False).accuracy["worst-case"]


def test_there_are_enough_members_and_each_says_what_it_is():
    assert len(BROKEN) >= 16
    assert len(HONEST) >= 6
    for name, member in (BROKEN | HONEST).items():
        assert member.name == name
        assert member.mechanism
        assert "|" not in member.mechanism
    assert all(member.truth is not None for member in BROKEN.values())
    assert all(member.truth is None for member in HONEST.values())


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
@pytest.mark.parametrize("name", WRAPPED)
def test_a_mechanism_goes_around_any_classifier(name, shape):
    torch.manual_seed(0)
    model, x = WRAPPED[name].wrap(Tiny(shape[0])).eval(), torch.rand(3, *shape)
    assert model(x).shape == (3, 10)
    assert model(x).isfinite().all()


@pytest.mark.parametrize("wrap", [Quantised, Jpeg, Shattered])
def test_the_mask_changes_the_gradient_and_not_the_value(wrap):
    torch.manual_seed(0)
    base, x = Tiny(1), torch.rand(4, 1, 8, 8)
    gradients = []
    for masked in (True, False):
        probe = x.clone().requires_grad_()
        logits = wrap(base, masked=masked)(probe)
        gradients.append(torch.autograd.grad(logits.max(1).values.sum(), probe)[0])
        torch.testing.assert_close(logits, wrap(base)(x))
    assert gradients[1].abs().min() > 0
    assert not torch.allclose(*gradients)


@pytest.mark.parametrize("layer", [KWinners, Sign, Thermometer])
def test_a_masking_layer_has_two_gradients_and_one_value(layer):
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    masked, unmasked = (layer(masked=masked).eval()(x - 0.3) for masked in (True, False))
    torch.testing.assert_close(masked, unmasked)
    assert torch.autograd.grad(unmasked.sum(), x)[0].count_nonzero() > 20


def test_jpeg_rounds_no_further_than_half_a_step_of_each_coefficient():
    """An orthonormal transform keeps distances: 64 errors of at most half a step are at most 4 steps together."""
    x = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    seen = Jpeg(nn.Identity(), 0.1)(x)
    blocks = (seen - x).unfold(2, 8, 8).unfold(3, 8, 8)
    assert 0 < blocks.flatten(4).norm(dim=4).max() <= 0.4 + 1e-5
    torch.testing.assert_close(Jpeg(nn.Identity(), 1e-4)(x), x, atol=1e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.zoo
@pytest.mark.parametrize("name", BROKEN)
def test_a_defence_keeps_the_accuracy_and_misleads_a_naive_attack(zoo, name):
    member, (x, y) = BROKEN[name], zoo.test_images(100)
    model = member.make(zoo, 0)
    unmasked = zoo.trained(member.truth, 0) if isinstance(member.truth, str) else member.truth(zoo, 0)
    torch.manual_seed(0)
    with torch.no_grad():
        natural, bare = ((each(x).argmax(1) == y).double().mean() for each in (model, unmasked))
        repeated = torch.equal(model(x), model(x))
    assert natural >= bare - 0.05
    if name in RANDOMISED:
        assert not repeated
    else:
        assert naive_accuracy(model, x, y) >= truth_of(member, zoo, 0, 48) + 0.05


@pytest.mark.slow
def test_a_base_is_trained_once_and_comes_back_the_same(zoo):
    x, _ = zoo.test_images(4)
    first = zoo.trained("natural", 0)
    assert torch.equal(first(x), zoo.trained("natural", 0)(x))
    assert zoo.trained("natural", 0) is not first


def row(name, worst, truth, verdict, seed=0):
    accuracy = dict.fromkeys(("natural", "fgsm", "pgd-20", "autoattack", "adaptive"), 0.9) | {"worst-case": worst}
    return Row(name, "a mechanism", seed, accuracy, truth, verdict, ("code",) if verdict != "trusted" else (), 1.0)


def test_the_table_lists_what_was_missed():
    broken = [row("a", 0.70, 0.68, "masked"), row("a", 0.80, 0.68, "suspect", 1), row("b", 0.0, 0.0, "trusted")]
    honest = [row("c", 0.6, 0.6, "trusted"), row("d", 0.6, 0.6, "suspect")]
    assert [within(each) for each in broken] == [True, False, True]
    text = confusion(broken, honest, ["e, seed 0: not evaluated"])
    assert (
        "| a | a mechanism | 90.0 | 90.0 | 90.0 | 90.0 | 90.0 | 75.0 | 68.0 | +12.0 | masked 1/2, suspect 1/2 |" in text
    )
    assert "Of 3 evaluations of broken defences 2 are flagged, and in 2 the worst case is" in text
    assert "Of 2 evaluations of honest models 1 are flagged" in text
    assert text.endswith(
        "Missed:\n\n- b, seed 0: broken, not flagged\n- a, seed 1: worst case 80.0, truth 68.0\n"
        "- d, seed 0: honest, but suspect (code)\n- e, seed 0: not evaluated\n"
    )


def test_the_shipped_checkpoint_knows_the_shipped_images():
    """A real classifier and 20 real images with labels, from the packages that the tests need anyway."""
    model = cifar.checkpoint()
    x, y = cifar.read(cifar.shipped_images(), model)
    assert x.shape == (20, 3, 32, 32)
    with torch.no_grad():
        assert (model(x).argmax(1) == y).double().mean() >= 0.9
    assert len(cifar.mechanisms()) >= 14


def test_other_images_are_labelled_by_the_model(tmp_path):
    model, source = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), cifar.shipped_images()[0]
    copy = tmp_path / "image.png"
    copy.write_bytes(source.read_bytes())
    x, y = cifar.read([copy], model)
    assert y.tolist() == model(x).argmax(1).tolist()
