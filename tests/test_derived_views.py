"""Which stand-ins are derived for a model, what they find, and what they leave behind."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from defended import AFTER, BEFORE, Behind, Majority, Opaque, Votes, defended
from oracles import Linear, linear_case, untrained
from torch import Tensor, nn

from harness.attacks.apgd import apgd
from harness.attacks.base import ascend
from harness.attacks.derived import derived_views
from harness.attacks.derived.survey import foretold
from harness.attacks.derived.views import Expectation, Inner, Rescaled, Smoothed, Substituted, ZerothOrder
from harness.attacks.losses import cross_entropy
from harness.evaluation import counting
from harness.models.base import Inputs
from harness.modes import evaluating, frozen
from harness.registry import models
from harness.threat import Threat
from harness.verification import still_correct

THREAT = Threat("Linf", 0.05)
IMAGE = (3, 6, 6)


def derive(model: nn.Module, x: Tensor, threat: Threat = THREAT, seed: int = 0) -> dict[str, nn.Module]:
    return derived_views(model, x[:16], threat, generator=torch.Generator().manual_seed(seed))


def standing(model, view, x, y, threat=THREAT, steps=50) -> Tensor:
    """What the model still gets right after APGD on the view, each iterate judged by the model; bool (N,)."""

    def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            fooled = model(x_adv).argmax(1) != y[rows]
        return cross_entropy(view(x_adv), y[rows]), fooled

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


def test_gradients_that_are_not_numbers_are_mended():
    """The derivative of the square root at zero times zero: the values are fine, every gradient is NaN."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Behind(case.model, before=lambda x: x + 0 * (x * 0).sqrt())
    views = derive(model, case.x)
    assert list(views) == ["substitutes", "zeroth-order"]
    del views["zeroth-order"]  # beside a guess, the last resort
    assert broken_by_any(model, views, case) == case.robust.tolist()


@pytest.mark.parametrize("kind", [Votes, Majority])
def test_an_ensemble_that_votes_is_broken_where_its_equal_members_are(kind):
    case = linear_case(THREAT, 10, shape=IMAGE)
    members = [Linear(scale * case.model.weight.detach(), scale * case.model.bias.detach()) for scale in (1, 2, 3)]
    views = derive(kind(*members), case.x)
    assert broken_by_any(kind(*members), views, case) == case.robust.tolist()
    assert "substitutes" in views


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
    assert count() == 64 * len(case.x)


def random_signs() -> Callable[[Tensor], Tensor]:
    """The identity with a gradient of random signs, which a closure hides from whoever looks for custom functions."""

    class Signs(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            random = torch.Generator().manual_seed(int(1e6 * float(gradient.abs().sum())) % 2**31)
            return gradient * (torch.randint(2, gradient.shape, generator=random) * 2 - 1)

    apply = Signs.apply
    return lambda x: apply(x)  # noqa: PLW0108 - the closure is the point


def test_a_gradient_that_foretells_what_does_not_come_is_not_believed():
    """Neither the model's nor any view's: differences of the output find what lies well within the radius."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    model = Behind(case.model, random_signs())
    wide = Threat("Linf", 2 * THREAT.eps)
    views = derive(model, case.x, wide)
    assert set(views) == {"zeroth-order"}
    assert standing(model, model, case.x, case.y, wide).sum() >= len(case.x) / 2
    torch.manual_seed(0)
    assert not standing(model, views["zeroth-order"], case.x, case.y, wide).any()


def test_a_model_that_fails_on_other_images_than_those_shown_raises_nothing():
    """It takes the clean images alone, so that no small move can be looked at: its gradient is not believed."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    shown = case.x.clone()

    class Shy(Behind):
        def forward(self, x):
            if not torch.equal(x.detach(), shown):
                raise ValueError("never seen")
            return super().forward(x)

    assert set(derive(Shy(case.model), shown)) == {"zeroth-order"}


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

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, incoming):
            return incoming * torch.tensor(gradient, dtype=incoming.dtype)

    class Pixels(nn.Module):
        def forward(self, x):
            z = Scaled.apply(x.flatten(1))
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


def test_honest_networks_get_no_views_for_23_forward_passes():
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = {name: models[name](10, Inputs()) for name in ("small-cnn", "resnet18")}
    for name, model in plain.items():
        with counting(model) as count:
            assert derive(model, x) == {}, name
        assert count() <= 23 * len(x)
    linear = linear_case(THREAT, 10)
    assert derive(linear.model, linear.x) == {}
    smooth, images, _ = untrained()
    assert derive(smooth, images) == {}
    transformer = nn.Sequential(nn.Flatten(2), nn.TransformerEncoderLayer(36, 4, 32, batch_first=True), nn.Flatten())
    assert derive(nn.Sequential(transformer, nn.Linear(108, 10), nn.LogSoftmax(1)), images) == {}


@pytest.fixture(scope="module")
def trained(digits):
    """Two small networks on digits, one undefended and one trained on attacked images; and test images."""
    x, y = torch.from_numpy(digits.train.images.copy()).float() / 255, torch.from_numpy(digits.train.labels.copy())
    threat, found = Threat("Linf", 0.1), []
    for adversarial in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = models["small-cnn"](10, Inputs(1, 8))
            optimiser = torch.optim.Adam(model.parameters(), 3e-3)
            for batch in torch.cat([torch.randperm(len(x)) for _ in range(3)]).split(65):
                images, labels = x[batch], y[batch].long()
                if adversarial:
                    loss = lambda z, m=model, t=labels: F.cross_entropy(m(z), t)  # noqa: E731
                    images = ascend(model, images, loss, threat, start=images, steps=3)
                optimiser.zero_grad()
                F.cross_entropy(model.train()(images), labels).backward()
                optimiser.step()
        found.append(model.eval())
    return *found, torch.from_numpy(digits.test.images.copy()).float()[:16] / 255


@pytest.mark.parametrize("threat", [Threat("Linf", 0.05), Threat("Linf", 0.2), Threat("L2", 1.0)], ids=str)
def test_trained_networks_get_no_views_and_shattered_ones_do(trained, threat):
    undefended, robust, x = trained
    assert derive(undefended, x, threat) == {}
    assert derive(robust, x, threat) == {}
    zigzag = Behind(undefended, before=lambda x: x + 0.1 * (200 * x).sin().asin())
    assert "smoothed" in derive(zigzag, x, threat)


def test_a_random_model_is_averaged_and_a_deterministic_one_is_not():
    model, x, _ = untrained()
    random_model = nn.Sequential(Behind(nn.Identity(), before=lambda x: F.dropout(x, 0.3, training=True)), model)
    assert list(derive(random_model, x)) == ["expectation"]
    view = derive(random_model, x)["expectation"]
    assert isinstance(view, Expectation)
    with counting(random_model) as count:
        view(x)
    assert count() == 10 * len(x)
    both = nn.Sequential(Behind(nn.Identity(), before=lambda x: F.dropout(x.detach(), 0.3, training=True)), model)
    assert list(derive(both, x)) == ["substitutes", "expectation"]


def test_logits_on_the_way_to_the_output_are_read_by_name_and_by_call():
    class Twice(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear = linear

        def forward(self, x):
            first = self.linear(x)
            return first.detach() + self.linear(0.9 * x + 0.05).exp().clamp(max=1e30) * 0 + first.round()

    case = linear_case(THREAT, 2, shape=IMAGE)
    views = derive(Twice(case.model), case.x)
    assert "inner:linear" in views or "inner:linear#2" in views
    for name, view in views.items():
        if isinstance(view, Inner):
            moved = 0.9 * case.x + 0.05 if name.endswith("#2") else case.x
            assert torch.equal(view(case.x), case.model(moved))


def test_hidden_features_as_many_as_classes_are_no_logits():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(108, 10), nn.ReLU(), nn.Linear(10, 10))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    x = torch.rand(16, *IMAGE, generator=generator) - 0.5
    alike = (model[:3](x).argmax(1) == model(x).argmax(1)).sum()
    assert 0 < alike < 8
    assert derive(model, x) == {}


def test_rescaled_logits_are_divided_by_one_number_and_probabilities_become_logarithms():
    case = linear_case(THREAT, 10, shape=IMAGE)
    steep = Behind(case.model, after=lambda z: 1e4 * z)
    view = derive(steep, case.x)["rescaled"]
    assert isinstance(view, Rescaled)
    ratio = steep(case.x) / view(case.x)
    assert torch.allclose(ratio, ratio[0, 0])
    gaps = view(case.x).topk(2, 1).values.diff().abs()
    assert float(gaps.detach().median()) == pytest.approx(4.0)
    soft = Behind(case.model, after=lambda z: (z / 10).softmax(1))
    assert torch.allclose(derive(soft, case.x)["rescaled"](case.x), (case.model(case.x) / 10).log_softmax(1), atol=1e-4)


def test_every_view_holds_the_model_and_answers_the_same_without_gradients():
    """`evaluating` and `frozen` reach the model through any view, and substituted values are the model's."""
    case = linear_case(THREAT, 10, shape=IMAGE)
    model = defended(case.model, "one-hot").train()
    for name, view in derive(model, case.x).items():
        assert model in view.modules(), name
        assert {*view.parameters()} == {*model.parameters()}, name
        if isinstance(view, Substituted):
            with torch.no_grad():
                assert torch.equal(view(case.x), model(case.x))


def test_the_model_and_all_global_state_are_given_back():
    class Counting(nn.BatchNorm2d):
        def forward(self, x):
            self.num_batches_tracked += 1
            torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
            return super().forward(x).round()

    model = nn.Sequential(Counting(3), nn.Dropout(), nn.Flatten(), nn.Linear(108, 10)).train()
    model[1].eval()
    model[3].bias.requires_grad_(False)
    model[3].register_full_backward_hook(lambda *_: None)
    buffers = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    x = torch.rand(8, *IMAGE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert derive(model, x)
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, True, False]
    assert all(torch.equal(value, buffers[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state())) == states[1:]  # noqa: NPY002
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert len(model[3]._backward_hooks) == 1
    assert not x.requires_grad


@pytest.mark.parametrize(
    "output",
    [
        lambda x: x.flatten(1).argmax(1),
        lambda x: x.flatten(1)[:, :1],
        lambda x: (x,),
        lambda x: x.flatten(1) / 0,
        lambda x: x.no_such_method(),
        lambda x: torch.zeros(len(x), 10),
        lambda x: x.flatten(1).sqrt() * 0,
    ],
)
def test_odd_models_raise_nothing(output):
    assert set(derive(Behind(nn.Identity(), before=output), torch.rand(4, *IMAGE))) <= {"zeroth-order"}
    assert derive(nn.Flatten(), torch.rand(0, *IMAGE)) == {}


def test_the_same_generator_gives_the_same_choice_of_views():
    model, x, _ = untrained()
    noisy = nn.Sequential(Behind(nn.Identity(), before=lambda x: x + 0.1 * torch.randn_like(x)), model)
    assert list(derive(noisy, x, seed=3)) == list(derive(noisy, x, seed=3))


def test_smoothing_averages_over_noisy_copies():
    case = linear_case(THREAT, 2, shape=IMAGE)
    seen = []
    model = Behind(case.model, before=lambda x: seen.append(x) or x)
    Smoothed(model, lambda x: x + len(seen))(case.x)
    assert [float((x - case.x).mean()) for x in seen] == pytest.approx(range(8), abs=1e-4)
