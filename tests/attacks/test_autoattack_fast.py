"""AutoAttack's fast form: who is spared, what is said of them, and that a masked model is spared nothing."""

import pytest
import torch
from defended import Behind, stepped
from oracles import linear_case
from scipy.optimize import linprog

from harness.api.attack import Survey
from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.search.cascade import Cascade, nearest
from harness.compute.passes import Passes, counting
from harness.evaluation.judge import Examples, judge
from results.audit import most_missed

LINF = Threat("Linf", 0.05)
CASCADE, NEARER, NEAREST, AUDIT, REST = range(5)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def survey(count, *, fallen=(), rounds=None):
    """``count`` examples after the cascade, the later the farther from an error; some have fallen."""
    standing = torch.ones(count, dtype=torch.bool)
    standing[list(fallen)] = False
    return Survey(standing, torch.arange(count) / 7, torch.zeros(count, dtype=torch.long) if rounds is None else rounds)


def chosen(number, seen, seed=0, **parameters):
    fast = resolve(":".join(["autoattack-fast", *(f"{key}={value}" for key, value in parameters.items())]))
    return fast.rounds[number].choose(seen, generator(seed)).tolist()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_nearest_survivors_are_chosen_whatever_the_scale_of_the_logits(scale):
    """Of 200 of which the first 40 have fallen: 15 % of 160, and 4 % of 160."""
    seen = survey(200, fallen=range(40))
    seen = seen._replace(margin=scale * seen.margin.flip(0))
    assert chosen(CASCADE, seen) == list(range(40, 200))
    assert chosen(NEARER, seen) == list(range(176, 200))
    assert chosen(NEAREST, seen) == list(range(193, 200))
    assert chosen(NEAREST, seen, nearest=0.1) == list(range(184, 200))


def test_the_audit_is_a_random_sample_of_those_that_have_not_had_autoattack():
    """Of 100 left twice the root; every one of them comes up in some sample, and none of the others in any."""
    seen = survey(104, rounds=torch.tensor([NEAREST] * 4 + [CASCADE] * 50 + [NEARER] * 50))
    samples = [chosen(AUDIT, seen, seed) for seed in range(40)]
    assert {len(set(sample)) for sample in samples} == {20}
    assert set().union(*samples) == set(range(4, 104))
    assert samples[0] == chosen(AUDIT, seen)
    assert len(chosen(AUDIT, seen, audit=7)) == 7
    assert len(chosen(AUDIT, seen, audit=1000)) == 100


@pytest.mark.parametrize(("fallen", "rest"), [([], []), ([1], []), ([5], [8, 9])])
def test_the_rest_is_attacked_if_and_only_if_one_of_the_sample_fell(fallen, rest):
    """Positions 4 to 7 are the sample; 1 fell before it and says nothing of the rest."""
    seen = survey(10, fallen=fallen, rounds=torch.tensor([NEAREST] * 4 + [AUDIT] * 4 + [NEARER, CASCADE]))
    assert chosen(REST, seen) == rest


def test_what_was_spared_is_bounded_by_the_sample():
    seen = survey(310, rounds=torch.tensor([NEAREST] * 10 + [AUDIT] * 30 + [CASCADE] * 270))
    spared = resolve("autoattack-fast").spared(seen)
    assert spared.positions.tolist() == list(range(40, 310))
    assert spared.may_fall == most_missed(300, 30)
    whole = seen._replace(round=torch.where(seen.round == CASCADE, REST, seen.round))
    assert resolve("autoattack-fast").spared(whole).may_fall == 0


def judged(model, x, y, name="autoattack-fast", threat=LINF):
    return judge(model, Examples(x, y), resolve(name), threat, views={}, seed=(0,), batch_size=500)


def test_an_honest_model_keeps_what_lies_beyond_the_margin_and_some_of_it_is_spared():
    """20 of 40 examples stand: one is among the nearest, two are the audit."""
    case = linear_case(LINF, 4, count=40)
    found = judged(case.model, case.x, case.y, "autoattack-fast:audit=2")
    assert torch.equal(found.verdicts, case.robust)
    assert len(found.spared) == 20 - 1 - 2
    assert found.may_fall == most_missed(19, 2)
    assert case.robust[found.spared].all()


def test_a_masked_model_ends_in_the_whole_attack():
    """No gradient comes back: the cascade is blind, Square is not, and some of the sample fall to it."""
    threat = Threat("Linf", 0.125)
    case = linear_case(threat, 4, count=12)
    model, x = Behind(case.model, before=stepped), stepped(case.x)
    found = judged(model, x, case.y, threat=threat)
    assert torch.equal(found.verdicts, case.robust)
    assert (found.spared, found.may_fall) == ([], 0)
    assert len(found.broken_by["square"]) > 0


def test_the_cascade_costs_what_its_steps_and_targets_say():
    """20 images that stand, ten classes: 21 + 31 + 21 looks with gradients, and nine gradients of one look."""
    case, small = linear_case(LINF, 10, count=20), Threat("Linf", 1e-4)
    with counting(case.model) as count:
        found = Cascade(20, (30, 20))(case.model, case.x, case.y, small, generator=generator(), views={})
        assert count() == Passes(2 * 16 + 20 * (21 + 1 + 31 + 21), 20 * (21 + 9 + 31 + 21))
    assert (found.part == -1).all()


def test_the_cascade_says_how_near_an_error_each_example_came():
    """Of a linear model the least margin in the ball is that of the clean image less eps times the dual norm."""
    case = linear_case(LINF, 10, count=12)
    found = Cascade(20, (20,))(case.model, case.x, case.y, LINF, generator=generator(), views={})
    between = case.model.weight[1] - case.model.weight[0]
    clean = (case.model(case.x)[:, :2].diff(dim=1)[:, 0]).abs()
    least = clean - LINF.eps * between.abs().sum()
    assert torch.equal(found.part == -1, case.robust)
    assert torch.allclose(found.margin[case.robust], least[case.robust], rtol=1e-3)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_the_nearest_classes_come_in_the_order_of_their_distances(norm):
    """Distances to hyperplanes: by a linear programme in Linf, by the formula in L2."""
    weight, bias = torch.randn(5, 36, generator=generator()), torch.randn(5, generator=generator(1))
    case = linear_case(LINF, 5, count=6)
    with torch.no_grad():
        case.model.weight.copy_(weight)
        case.model.bias.copy_(bias)
    labels = case.model(case.x).argmax(1)
    found = nearest(case.model, case.x, labels, Threat(norm, 0.05), 3)
    for x, y, order in zip(case.x.flatten(1), labels.tolist(), found.tolist(), strict=True):
        distances = {}
        for target in set(range(5)) - {y}:
            w = (weight[target] - weight[y]).double()
            gap = -float(w @ x.double() + bias[target] - bias[y])
            if norm == "L2":
                distances[target] = gap / float(w.norm())
            else:  # min t such that w d = gap and |d_i| <= t
                sides = [[*row, -1] for sign in (1, -1) for row in (sign * torch.eye(36)).tolist()]
                solved = linprog(
                    [0] * 36 + [1], sides, [0] * 72, [[*w.tolist(), 0]], [gap], [(None, None)] * 36 + [(0, None)]
                )
                distances[target] = solved.fun
        assert order == sorted(distances, key=distances.__getitem__)[:3]


def test_an_audit_of_nobody_is_refused():
    with pytest.raises(HarnessError, match="audit must be positive, got 0"):
        resolve("autoattack-fast:audit=0")
