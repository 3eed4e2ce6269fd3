"""The threat model: what random start, step and projection may return, and what lies in the ball."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from harness.api.errors import HarnessError
from harness.api.threat import Threat

THREATS = st.builds(Threat, st.sampled_from(["Linf", "L2"]), st.floats(1e-3, 1.0))
SEEDS = st.integers(0, 2**31)


def images(seed: int, *, count: int = 4) -> Tensor:
    """Images (count, 3, 4, 4) all over [0, 1], many pixels exactly on a bound."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, 3, 4, 4, generator=generator) * 1.4 - 0.2).clamp(0, 1)


def anywhere(seed: int) -> Tensor:
    return torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(seed + 1))


def assert_allowed(threat: Threat, x: Tensor, x_adv: Tensor) -> None:
    """Measured here in float64, not by ``Threat.contains``."""
    difference = (x_adv.double() - x.double()).flatten(1)
    distance = difference.abs().amax(1) if threat.norm == "Linf" else difference.pow(2).sum(1).sqrt()
    assert (distance <= threat.eps * (1 + 1e-5) + 1e-6).all()
    assert x_adv.min() >= 0
    assert x_adv.max() <= 1


@given(THREATS, SEEDS)
def test_a_random_start_is_allowed(threat, seed):
    x = images(seed)
    start = threat.random_start(x, torch.Generator().manual_seed(seed))
    assert_allowed(threat, x, start)
    assert threat.contains(x, start).all()


@given(THREATS, SEEDS)
def test_a_projection_is_allowed_and_projecting_again_changes_nothing(threat, seed):
    x = images(seed)
    once = threat.project(anywhere(seed), x)
    assert_allowed(threat, x, once)
    assert threat.contains(x, once).all()
    torch.testing.assert_close(threat.project(once, x), once, rtol=0, atol=1e-6)


@given(THREATS, SEEDS)
def test_projection_leaves_allowed_points_alone(threat, seed):
    x = images(seed)
    inside = (x + 0.99 * (threat.project(anywhere(seed), x) - x)).clamp(0, 1)
    torch.testing.assert_close(threat.project(inside, x), inside, rtol=0, atol=1e-6)


@given(THREATS, SEEDS, st.floats(0.01, 2.0))
def test_a_step_is_allowed_and_never_longer_than_its_size(threat, seed, size):
    x = images(seed)
    x_adv = threat.random_start(x, torch.Generator().manual_seed(seed))
    moved = threat.step(x_adv, anywhere(seed), x, size * threat.eps)
    assert_allowed(threat, x, moved)
    if threat.norm == "Linf":
        assert (threat.distance(x_adv, moved) <= size * threat.eps + 1e-6).all()


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_an_unhindered_step_has_its_full_length_along_the_gradient(norm):
    """Far from the bounds and the sphere the step is ``size * sign(g)``, or ``size * g / |g|``."""
    x, gradient = torch.full((1, 1, 2, 2), 0.5), torch.tensor([[[[3.0, -4.0], [0.0, 0.0]]]])
    expected = [0.1, -0.1, 0.0, 0.0] if norm == "Linf" else [0.06, -0.08, 0.0, 0.0]
    moved = Threat(norm, 0.3).step(x, gradient, x, 0.1)
    torch.testing.assert_close((moved - x).flatten(), torch.tensor(expected))


def test_an_l2_projection_is_the_nearest_point_of_the_ball():
    x, far = torch.full((1, 1, 1, 2), 0.5), torch.tensor([[[[0.8, 0.9]]]])
    torch.testing.assert_close(Threat("L2", 0.25).project(far, x), torch.tensor([[[[0.65, 0.7]]]]))


def test_random_starts_are_uniform_in_the_ball():
    """In d dimensions the radius of a uniform point, over eps, has mean d / (d + 1)."""
    x = torch.full((4000, 1, 1, 3), 0.5)
    generator = torch.Generator().manual_seed(0)
    radius = Threat("L2", 0.2).distance(x, Threat("L2", 0.2).random_start(x, generator)) / 0.2
    assert radius.mean() == pytest.approx(3 / 4, abs=0.01)
    offset = (Threat("Linf", 0.2).random_start(x, generator) - x) / 0.2
    assert offset.mean() == pytest.approx(0, abs=0.02)
    assert offset.abs().mean() == pytest.approx(1 / 2, abs=0.01)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("fault", ["outside the ball", "below 0", "above 1", "nan", "inf"])
def test_what_is_not_allowed_is_not_contained(norm, fault):
    """Only the faulty example of two is refused."""
    threat, x = Threat(norm, 0.1), torch.tensor([0.05, 0.95]).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
    value = {"outside the ball": 0.16, "below 0": -0.01, "above 1": 1.01, "nan": torch.nan, "inf": torch.inf}[fault]
    x_adv = x.clone()
    x_adv[1, 0, 0, int(fault == "above 1")] = value
    assert threat.contains(x, x_adv).tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("L1",), "norm must be one of Linf, L2, got 'L1'"),
        (("Linf", 0.0), "eps must be positive"),
        (("L2", float("nan")), "eps must be positive"),
        (("Linf", 8), "Linf eps must be at most 1 .* write 8/255"),
        (("Linf", 0.1, -1.0), "step_size must be positive, got -1.0"),
    ],
)
def test_an_impossible_threat_is_refused(arguments, message):
    with pytest.raises(HarnessError, match=message):
        Threat(*arguments)


def test_a_threat_steps_a_quarter_of_its_radius_and_prints_grey_levels():
    assert Threat("L2", 0.5).step_size == 0.125
    assert str(Threat("Linf", 8 / 255)) == "Linf 8/255"
    assert str(Threat("L2", 0.5)) == "L2 0.5"


@pytest.mark.parametrize("eps", ["8/255", 8 / 255, torch.tensor(8 / 255), "0.031372549"])
def test_a_radius_may_be_typed_as_text(eps):
    assert Threat("Linf", eps).eps == pytest.approx(8 / 255)


@pytest.mark.parametrize("eps", [None, [0.1, 0.2], "eight"])
def test_a_radius_that_is_no_number_is_refused(eps):
    with pytest.raises(HarnessError, match="eps"):
        Threat("Linf", eps)
