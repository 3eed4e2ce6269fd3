"""FAB: the projection against an optimiser and the authors' code, the nearest point of a plane, and who stops when."""

import numpy as np
import pyautoattack.fab_projections as theirs
import pyautoattack.fab_pt
import pytest
import torch
from oracles import linear_case, untrained
from scipy.optimize import linprog

from harness.api.threat import Threat
from harness.attacks.losses import difference, ranked
from harness.attacks.search.fab import fab, to_hyperplane
from harness.attacks.search.found import Claim


def planes(count=50, size=12, seed=0):
    """Points in the box and planes that the box reaches, some of them barely."""
    random = torch.Generator().manual_seed(seed)
    points, w = torch.rand(count, size, generator=random), torch.randn(count, size, generator=random)
    inside = torch.rand(count, size, generator=random)
    inside[::5] = (w[::5] > 0).float() * 0.99  # near the corner that is furthest along w
    return points.double(), w.double(), (w * inside).sum(1).double()


@pytest.mark.parametrize(("norm", "reference"), [("Linf", theirs.projection_linf), ("L2", theirs.projection_l2)])
def test_the_projection_is_the_authors(norm, reference):
    points, w, offset = planes()
    delta = to_hyperplane(points, w, offset, norm)
    torch.testing.assert_close(((points + delta) * w).sum(1), offset)
    expected = reference(points.float(), w.float(), offset.float()).double()
    order = float("inf") if norm == "Linf" else 2
    lengths = [torch.linalg.vector_norm(step, ord=order, dim=1) for step in (delta, expected)]
    torch.testing.assert_close(*lengths, rtol=1e-4, atol=1e-4)
    assert ((points + delta >= -1e-12) & (points + delta <= 1 + 1e-12)).all()


def test_the_linf_projection_is_the_solution_of_its_linear_programme():
    points, w, offset = planes(count=10)
    delta = to_hyperplane(points, w, offset, "Linf")
    for x, normal, b, step in zip(points.numpy(), w.numpy(), offset.numpy(), delta.numpy(), strict=True):
        size = len(x)
        wide = np.c_[np.r_[np.eye(size), -np.eye(size)], -np.ones(2 * size)]  # |z - x| <= t
        solution = linprog(
            np.r_[np.zeros(size), 1],
            A_ub=wide,
            b_ub=np.r_[x, -x],
            A_eq=np.r_[normal, 0][None],
            b_eq=[b],
            bounds=[(0, 1)] * size + [(0, None)],
        )
        assert np.abs(step).max() == pytest.approx(solution.fun, abs=1e-8)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_a_plane_out_of_reach_is_approached_as_far_as_the_box_goes(norm):
    points, w, _ = planes(count=5)
    delta = to_hyperplane(points, w, torch.full((5,), 1e3).double(), norm)
    torch.testing.assert_close(points + delta, (w > 0).double())


@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e8])
def test_the_size_of_the_gradient_does_not_matter(norm, scale):
    points, w, offset = (tensor.float() for tensor in planes(size=300))
    expected = to_hyperplane(points, w, offset, norm)
    torch.testing.assert_close(to_hyperplane(points, scale * w, scale * offset, norm), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("norm", ["Linf", "L2"])
def test_without_a_gradient_nothing_moves(norm):
    points = torch.rand(3, 4)
    assert torch.equal(to_hyperplane(points, torch.zeros(3, 4), torch.ones(3), norm), torch.zeros(3, 4))


def towards(model, y, target, *, judge=True):
    def both(x_adv, rows):
        logits = model(x_adv)
        return difference(logits, y[rows], target[rows]), Claim((logits.argmax(1) != y[rows]) & judge)

    return both


@pytest.mark.parametrize("threat", [Threat("Linf", 0.05), Threat("L2", 0.3)], ids=str)
def test_a_linear_model_keeps_exactly_the_examples_beyond_the_margin(threat):
    case = linear_case(threat, 4)
    x_adv, fooled = fab(towards(case.model, case.y, 1 - case.y), case.x, threat)
    assert torch.equal(fooled, ~case.robust)
    assert threat.contains(case.x, x_adv).all()
    assert torch.equal(case.model(x_adv).argmax(1) != case.y, fooled)
    assert torch.equal(x_adv[~fooled], case.x[~fooled])


@pytest.mark.parametrize("threat", [Threat("Linf", 0.02), Threat("L2", 0.2)], ids=str)
def test_the_verdicts_are_those_of_the_authors_implementation(threat):
    """Both are deterministic: each example, target by target."""
    model, x, y = untrained()
    reference = pyautoattack.fab_pt.FABAttack_PT(
        model, norm=threat.norm, eps=threat.eps, n_iter=30, targeted=True, device="cpu"
    )
    counts = []
    for rank in range(1, 4):
        with torch.no_grad():
            target = ranked(model(x), y, rank)
        reference.target_class = rank + 1
        expected = reference.attack_single_run(x, y, is_targeted=True)
        broken = (model(expected).argmax(1) != y) & threat.contains(x, expected)
        _, fooled = fab(towards(model, y, target), x, threat, steps=30)
        assert torch.equal(fooled, broken)
        counts.append(int(broken.sum()))
    assert 0 < sum(counts) < 3 * len(x)


def test_the_other_tries_at_an_image_stop_when_one_has_succeeded():
    """The same images twice: towards the class that can be reached, and towards one that cannot."""
    case, looks = linear_case(Threat("Linf", 0.05), 4), []
    x, y = case.x.repeat(2, 1, 1, 1), case.y.repeat(2)
    target = torch.cat([1 - case.y, torch.full_like(case.y, 3)])
    both = towards(case.model, y, target)

    def watched(x_adv, rows):
        looks.append(len(rows))
        return both(x_adv, rows)

    _, fooled = fab(watched, x, case.threat, steps=20, group=torch.arange(len(case.x)).repeat(2))
    assert torch.equal(fooled, torch.cat([~case.robust, torch.zeros_like(case.robust)]))
    assert looks[0] == 2 * len(case.x)
    assert looks[-1] == 2 * int(case.robust.sum())
