"""What the derived stand-ins find: what a closed form says can be broken, and what is left without a gradient."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from defended import AFTER, BEFORE, IMAGE, THREAT, Behind, Opaque, Votes, defended, derive
from oracles import Linear, linear_case
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.attacks.losses import cross_entropy
from harness.attacks.search.apgd import apgd
from harness.attacks.search.found import Claim
from harness.compute.modes import evaluating, frozen
from harness.compute.passes import counting
from harness.evaluation.verify import still_correct
from harness.views.standins import Smoothed, ZerothOrder
from harness.views.survey import foretold


def standing(model, view, x, y, threat=THREAT, steps=50) -> Tensor:
    """What the model still gets right after APGD on the view, each iterate judged by the model; bool (N,)."""

    def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Claim]:
        with torch.no_grad():
            fooled = model(x_adv.detach()).argmax(1) != y[rows]
        return cross_entropy(view(x_adv), y[rows]), Claim(fooled)

    start = threat.random_start(x, torch.Generator().manual_seed(0))
    with evaluating(view), frozen(view):
        x_adv, _ = apgd(objective, x, threat, start=start, steps=steps)
    return still_correct(model, x, y, x_adv, threat)


def broken_by_any(model, views, case) -> list[bool]:
    alive = torch.ones(len(case.x), dtype=torch.bool)
    for view in views.values():
        alive &= standing(model, view, case.x, case.y, case.threat)
    return alive.tolist()


@pytest.mark.parametrize(("classes", "threat"), [(10, THREAT), (2, Threat("L2", 0.5))], ids=str)
@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
def test_the_views_break_exactly_what_the_closed_form_says_can_be_broken(name, classes, threat):
    """Behind each obstacle lies a linear classifier, whose margins are known; 8-bit levels move them by under 5 %."""
    case = linear_case(threat, classes, shape=IMAGE)
    model = defended(case.model, name)
    with torch.no_grad():
        assert torch.equal(model(case.x).argmax(1), case.y)
    assert broken_by_any(model, derive(model, case.x, threat), case) == case.robust.tolist()


@pytest.mark.parametrize("name", [name for name in [*BEFORE, *AFTER] if name != "sine"])
def test_the_bare_model_hides_what_the_views_show(name):
    """APGD on the model itself fails on examples that can be broken, or has no gradient at all."""
    case = linear_case(THREAT, 2, shape=IMAGE)
    model = defended(case.model, name)
    with frozen(model):
        hidden = not model(case.x.clone().requires_grad_()).requires_grad
    assert hidden or name == "floor division" or standing(model, model, case.x, case.y).all()


def test_gradients_that_are_not_numbers_count_as_zero():
    """The derivative of the square root at zero times zero: the values are fine, every gradient is NaN."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Behind(case.model, before=lambda x: x + 0 * (x * 0).sqrt())
    views = derive(model, case.x)
    assert list(views) == ["substitutes", "zeroth-order"]
    del views["zeroth-order"]  # beside a guess, the last resort
    assert broken_by_any(model, views, case) == case.robust.tolist()


def test_an_ensemble_that_votes_is_broken_where_its_equal_members_are():
    case = linear_case(THREAT, 10, shape=IMAGE)
    members = [Linear(scale * case.model.weight.detach(), scale * case.model.bias.detach()) for scale in (1, 2, 3)]
    views = derive(Votes(*members), case.x)
    assert broken_by_any(Votes(*members), views, case) == case.robust.tolist()
    assert "substitutes" in views


@pytest.mark.parametrize("nearest", [lambda d: d.topk(3, largest=False).indices, lambda d: d.argsort(1)[:, :3]])
def test_votes_of_the_nearest_neighbours_are_followed(nearest):
    """Ten points on the axes, each there three times: the three nearest to the logits are the winner's."""
    points, labels = 30 * torch.eye(10).repeat(3, 1), torch.eye(10).repeat(3, 1)

    class Neighbours(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return labels[nearest(torch.cdist(super().forward(x), points))].sum(1)

    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Neighbours(case.model.weight.detach(), case.model.bias.detach())
    views = derive(model, case.x)
    assert set(views) == {"substitutes", "smoothed", "zeroth-order"}
    del views["zeroth-order"]
    assert broken_by_any(model, views, case) == case.robust.tolist()


def test_a_defence_that_wakes_up_only_where_an_image_was_moved_is_seen():
    """Of the images as they are the gradient is honest; whoever moves one meets 256 levels."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    shown = case.x.flatten(1)

    class Alarmed(Behind):
        def forward(self, x: Tensor) -> Tensor:
            known = (x.flatten(1)[:, None] - shown).abs().amax(2).amin(1) < 1e-6
            return torch.where(known[:, None], self.linear(x), self.linear((255 * x).round() / 255))

    model = Alarmed(case.model)
    assert standing(model, model, case.x, case.y).all()
    views = derive(model, case.x)
    assert "substitutes" in views
    assert standing(model, views["substitutes"], case.x, case.y).tolist() == case.robust.tolist()


def test_preprocessing_that_nothing_can_trace_counts_as_the_identity():
    case = linear_case(THREAT, 2, shape=IMAGE)
    model = nn.Sequential(Opaque(), case.model)
    views = derive(model, case.x)
    assert list(views) == ["substitutes", "zeroth-order"]
    del views["zeroth-order"]  # beside a guess, the last resort
    assert broken_by_any(model, views, case) == case.robust.tolist()


def test_a_model_that_answers_with_labels_from_outside_torch_is_asked_for_differences():
    """The last resort: nothing else has a gradient. It breaks what lies well within the radius."""

    class Labels(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return torch.Tensor(np.eye(2)[super().forward(x).detach().argmax(1).tolist()])

    case = linear_case(THREAT, 2, shape=(1, 2, 2))
    model = Labels(case.model.weight.detach(), case.model.bias.detach())
    wide = Threat("Linf", 2 * THREAT.eps)
    views = derive(model, case.x, wide)
    assert list(views) == ["zeroth-order"]
    assert not standing(model, views["zeroth-order"], case.x, case.y, wide).any()
    with counting(model) as count:
        views["zeroth-order"](case.x.requires_grad_()).sum().backward()
    assert count().forwards == 64 * len(case.x)


def with_gradient(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The identity with a changed gradient, which a closure hides from whoever looks for custom functions."""

    class Changed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return change(gradient)

    apply = Changed.apply
    return lambda x: apply(x)  # noqa: PLW0108 - the closure is the point


def random_signs(gradient: Tensor) -> Tensor:
    """Each entry with a sign drawn anew for each gradient, the same for the same one."""
    random = torch.Generator().manual_seed(int(1e6 * float(gradient.abs().sum())) % 2**31)
    return gradient * (torch.randint(2, gradient.shape, generator=random) * 2 - 1)


def test_a_gradient_that_foretells_what_does_not_come_is_not_believed():
    """Neither the model's nor any view's: differences of the output find what lies well within the radius."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Behind(case.model, with_gradient(random_signs))
    wide = Threat("Linf", 2 * THREAT.eps)
    views = derive(model, case.x, wide)
    assert set(views) == {"zeroth-order"}
    assert standing(model, model, case.x, case.y, wide).sum() >= len(case.x) / 2
    torch.manual_seed(0)
    assert not standing(model, views["zeroth-order"], case.x, case.y, wide).any()


def test_a_useless_gradient_beside_an_opaque_path_does_not_hide_it():
    """The logits come through numpy; what is left to differentiate is their temperature, which fools nobody."""

    class Tempered(Behind):
        def forward(self, x):
            return super().forward(x) * torch.special.expit(x.mean((1, 2, 3)))[:, None]

    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Tempered(case.model, Opaque())
    assert standing(model, model, case.x, case.y).all()
    views = derive(model, case.x)
    assert set(views) == {"bridged", "zeroth-order"}
    assert standing(model, views["bridged"], case.x, case.y).tolist() == case.robust.tolist()


@pytest.mark.parametrize(("gradient", "correlation"), [((1, 1), 1.0), ((2, 2), 1.0), ((-1, -1), -1.0), ((1, 0), 0.71)])
def test_how_well_a_gradient_foretells(gradient, correlation):
    """A linear gap of two pixels; the gradient is a multiple of the right one, or knows one of the two: 1 / sqrt(2)."""

    scaled = with_gradient(lambda incoming: incoming * torch.tensor(gradient, dtype=incoming.dtype))

    class Pixels(nn.Module):
        def forward(self, x):
            z = scaled(x.flatten(1))
            return torch.cat([z, torch.full((len(x), 1), 9.0), torch.full((len(x), 1), -9.0)], 1)

    x, pair = torch.full((64, 1, 1, 2), 0.5), torch.tensor([[0, 1]]).expand(64, 2)
    assert foretold(Pixels(), x, pair, Threat("Linf", 0.01)) == pytest.approx(correlation, abs=0.06)


def test_finite_differences_of_a_linear_function_estimate_its_gradient():
    """With noise u of unit mean square, the mean of u (w u) is w."""
    model = Linear(torch.tensor([[1.0, -2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 3.0]]), torch.zeros(2))
    torch.manual_seed(0)
    view = ZerothOrder(model, lambda x: x + 0.1 * (2 * torch.rand_like(x) - 1), pairs=4000)
    x = torch.full((1, 1, 2, 2), 0.5, requires_grad=True)
    (found,) = torch.autograd.grad(view(x)[0, 0], x)
    assert torch.allclose(found.flatten(), torch.tensor([1.0, -2.0, 0.5, 0.0]), atol=0.1)


def test_smoothing_averages_over_noisy_copies():
    case = linear_case(THREAT, 2, shape=IMAGE)
    seen = []
    model = Behind(case.model, before=lambda x: seen.append(x) or x)
    Smoothed(model, lambda x: x + len(seen))(case.x)
    assert [float((x - case.x).mean()) for x in seen] == pytest.approx(range(8), abs=1e-4)
