"""Each probe on models built so that the answer is known, and on honest ones."""

import json
from dataclasses import asdict, fields

import pytest
import torch
from oracles import linear_case
from probing import LINF, Then, codes, look
from torch import nn
from zoo import THREAT

from harness.api.threat import Threat
from harness.compute.passes import counting
from harness.trust.probes import PROBE_EXAMPLES, PROBE_FORWARDS, Probes

L2 = Threat("L2", 0.5)
SHAPE = (1, 6, 6)


def grey(count=60, shape=SHAPE):
    return torch.full((count, *shape), 0.5), torch.zeros(count, dtype=torch.long)


class Score(nn.Module):
    """The logits that ``read`` finds in the pixels (N, D)."""

    def __init__(self, read):
        super().__init__()
        self.read = read

    def forward(self, x):
        return self.read(x.flatten(1))


def against(score):
    """Two logits: class 1 where ``score`` (N,) is positive."""
    return torch.stack([torch.zeros_like(score), score], 1)


@pytest.mark.parametrize("threat", [LINF, L2], ids=str)
def test_a_linear_model_shows_nothing(threat):
    case = linear_case(threat, 4, count=100)
    seen = look(case.model, case.x, case.y, threat)
    assert (seen.examples, seen.attacked) == (100, 100)
    assert seen.curve == {"0.25": 1.0, "0.5": 1.0, "1": 0.5, "2": 0.0, "4": 0.0, "box": 0.0}
    assert seen.gradient_cosine == pytest.approx(1.0)
    assert seen.loss_noise < 0.05
    assert seen.foretold > 0.99
    quiet = {field.name for field in fields(Probes)} - {
        "examples",
        "attacked",
        "curve",
        "gradient_cosine",
        "loss_noise",
        "foretold",
        "classes",
        "renamed",
    }
    assert (seen.classes, seen.renamed) == (4, 1.0)
    assert {name: getattr(seen, name) for name in quiet} == {name: getattr(Probes(), name) for name in quiet}
    assert codes(seen) == set()


def test_logits_times_1000_have_no_gradient():
    """The gaps between the logits, about 2,900, are far beyond the 103 where float32 runs out."""
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, after=lambda z: 1000 * z), case.x, case.y)
    assert seen.gradient_reaches
    assert (seen.zero_gradient_clean, seen.zero_gradient_start, seen.curve["box"]) == (1.0, 1.0, 1.0)
    assert {"zero-gradient", "unbounded-attack-fails"} <= codes(seen)


def test_logits_times_10_have_next_to_none_where_the_model_withstands():
    """Gaps of about 30 leave exp(-30): the attack still breaks what can be broken, every second example."""
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, after=lambda z: 10 * z), case.x, case.y)
    assert (seen.zero_gradient_clean, seen.curve["1"]) == (0.0, 0.5)
    assert (seen.vanishing_gradient_clean, seen.vanishing_gradient_start) == (0.5, 0.5)
    assert codes(seen) == {"vanishing-gradient"}


def test_a_detached_model_is_not_an_error():
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, before=torch.Tensor.detach), case.x, case.y)
    assert not seen.gradient_reaches
    assert seen.zero_gradient_clean == 1.0
    assert {"zero-gradient", "unbounded-attack-fails"} <= codes(seen)


def test_quantised_images_have_a_zero_gradient():
    case = linear_case(LINF, 4, count=40)
    seen = look(Then(case.model, before=lambda x: (x * 255).round() / 255), case.x, case.y)
    assert seen.gradient_reaches
    assert (seen.zero_gradient_clean, seen.curve["box"]) == (1.0, 1.0)


def test_a_gradient_that_is_no_number_counts_as_none():
    """The root of 0 has an infinite slope, and 0 times infinity is not a number."""
    x, y = grey()
    seen = look(Score(lambda v: against((v - v).sqrt().sum(1) - 1)), x, y)
    assert seen.zero_gradient_clean == 1.0


def test_random_points_break_a_sign_activation():
    """20 of 36 signs are positive, all within reach: nearly every second corner of the ball has another majority."""
    x, _ = grey()
    x.flatten(1)[:, :20] += 0.01
    x.flatten(1)[:, 20:] -= 0.01
    seen = look(Score(lambda v: against((v - 0.5).sign().sum(1))), x, torch.ones(len(x), dtype=torch.long))
    assert seen.zero_gradient_clean == 1.0
    assert seen.noise == seen.curve["1"] > 0.3
    assert {"zero-gradient", "noise-wins"} <= codes(seen)


def bump(v):
    """Ten classes along the mean m - 0.5 of the pixels: 1 wins within 0.02 of 0.05, and the loss rises beyond it."""
    m = v.mean(1) - 0.5
    others = -0.1 - 50 * (0.1 - m).clamp(min=0)
    return torch.stack([torch.zeros_like(m), 0.1 - 5 * (m - 0.05).abs(), *[others] * 8], 1)


def test_an_attack_that_succeeds_on_its_way_and_goes_on():
    """The path of a loss that leads through wrong answers to right ones; half of eps is the end of the wrong ones."""
    x, y = grey()
    seen = look(Score(bump), x, y)
    assert (seen.silent, seen.curve["0.5"], seen.curve["1"], seen.curve["box"]) == (1.0, 0.0, 1.0, 1.0)
    assert {"silent-success", "not-monotone", "unbounded-attack-fails"} <= codes(seen)


def lowest_above(threshold):
    """The gradient moves only the darkest pixel: to lift 16 of them by eps takes 64 steps of eps / 4."""
    return Score(lambda v: against(10 * (v.amin(1) - threshold)))


def test_an_attack_that_is_stopped_while_it_gains():
    """Out of reach at 0.7, the loss still rises after 40 steps."""
    x, y = grey(shape=(1, 4, 4))
    seen = look(lowest_above(0.7), x, y)
    assert (seen.curve["1"], seen.more_steps, seen.incomplete) == (1.0, 0.0, 1.0)
    assert "incomplete-optimisation" in codes(seen)


def test_twice_the_steps_find_what_takes_thirty():
    """From a random start the darkest pixel rises like water: to 0.51 it takes 27 steps, give or take a few."""
    x, y = grey(shape=(1, 4, 4))
    seen = look(lowest_above(0.51), x, y)
    assert seen.more_steps > 0.9 * seen.curve["1"] > 0.5
    assert "more-steps-win" in codes(seen)


def test_restarts_find_what_depends_on_the_start():
    """One pixel decides: above 0.5 the ascent leads to a wrong answer, below it away from there, half and half."""

    def fork(v):
        m = v[:, 0] - 0.5
        return against(torch.where(m > 0, m, -0.5 * m) - 0.08)

    x, y = grey(200)
    seen = look(Score(fork), x, y)
    assert seen.curve["1"] == pytest.approx(0.5, abs=0.1)
    assert seen.restarts == pytest.approx(seen.curve["1"] * 15 / 16, abs=0.05)
    assert "restarts-win" in codes(seen)


@pytest.mark.parametrize(("height", "found"), [(0.0, set()), (2.0, {"shattered-gradient", "unstable-loss"})])
def test_ripples_shatter_the_gradient_and_shake_the_loss(height, found):
    """Waves of length 0.003 in every pixel: a tenth of eps is three of them."""
    case = linear_case(LINF, 2, count=40)
    ripple = Score(lambda v: against(height * (2000 * v).sin().mean(1)))

    class Rippled(nn.Module):
        def forward(self, x):
            return case.model(x) + ripple(x)

    seen = look(Rippled(), case.x, case.y)
    assert found <= codes(seen)
    assert (seen.gradient_cosine < 0.5) == (seen.loss_noise > 0.1) == bool(found)


def test_an_undefended_overconfident_model_shows_nothing():
    """Gaps of about 60 leave gradients of 1e-26, which still lead the attack to every example: none stands."""
    case = linear_case(LINF, 4, count=40)
    model = Then(case.model, after=lambda z: 20 * z)
    assert codes(look(model, case.x, case.y, Threat("Linf", 0.2))) == set()


def test_the_cost_is_460_passes_and_16_pairs_where_everything_stands():
    case = linear_case(LINF, 4, count=20)
    with counting(case.model) as count:
        assert look(case.model, case.x, case.y, Threat("Linf", 0.05)).curve["1"] == 1.0
    assert count().forwards == 460 * 20 + 16 + 1 <= PROBE_FORWARDS * 20


def test_only_the_first_examples_are_looked_at_and_only_the_right_ones_attacked():
    case = linear_case(LINF, 4, count=PROBE_EXAMPLES + 10)
    wrong = torch.arange(len(case.y)) % 10 == 0
    seen = look(case.model, case.x, torch.where(wrong, 1 - case.y, case.y))
    assert (seen.examples, seen.attacked) == (PROBE_EXAMPLES, PROBE_EXAMPLES * 9 // 10)
    assert seen.curve["0.25"] == 1.0


def test_a_model_that_is_always_wrong_shows_nothing_but_a_better_name_for_its_classes():
    case = linear_case(LINF, 4, count=20)
    assert look(case.model, case.x, 1 - case.y) == Probes(examples=20, classes=4, renamed=1.0)


def test_the_size_of_batches_changes_no_share():
    case = linear_case(LINF, 4, count=40)
    one, other = look(case.model, case.x, case.y), look(case.model, case.x, case.y, batch_size=7)
    assert asdict(one) == {name: pytest.approx(value, abs=1e-6) for name, value in asdict(other).items()}


def test_probes_survive_json():
    case = linear_case(LINF, 4, count=20)
    seen = look(case.model, case.x, case.y)
    assert Probes(**json.loads(json.dumps(asdict(seen), allow_nan=False))) == seen


def test_the_model_is_given_back_as_it_was():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Dropout(), nn.Linear(36, 4))
    model[2].eval()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.rand(8, *SHAPE)
    look(model, x, torch.zeros(8, dtype=torch.long))
    assert [module.training for module in model] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, False, True]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["natural", "pgd-at", *(pytest.param(name, marks=pytest.mark.zoo) for name in ("trades", "mart"))]
)
def test_honest_networks_show_nothing(method, zoo):
    seen = look(zoo.trained(method, 0), *zoo.test_images(200), THREAT)
    assert codes(seen) == set()
    assert seen.curve["box"] == 0.0
