"""Which stand-ins are derived for a model, and what looking for them leaves behind."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from defended import BEFORE, IMAGE, THREAT, Behind, defended, derive, levels
from oracles import linear_case, untrained
from torch import Tensor, nn

from harness.api.model import Inputs, models
from harness.api.threat import Threat
from harness.compute.ascent import ascend
from harness.compute.passes import counting
from harness.views.standins import Expectation, Inner, Rescaled, Substituted


def test_honest_networks_get_no_views_for_27_forward_passes():
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    plain = {name: models[name](10, Inputs()) for name in ("small-cnn", "resnet18")}
    for name, model in plain.items():
        with counting(model) as count:
            assert derive(model, x) == {}, name
        assert count().forwards <= 27 * len(x)
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
    assert count().forwards == 10 * len(x)
    draws = torch.Generator().manual_seed(0)
    noisy = Behind(model, before=lambda x: x + 0.1 * torch.randn(x.shape, generator=draws))
    assert list(derive(noisy, x)) == ["expectation"]
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


def test_a_purifier_that_differentiates_by_a_leaf_of_its_own_is_followed():
    """Its loss has a graph because of that leaf, and it asks whether there is one."""

    class Purified(Behind):
        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                moved = torch.zeros_like(x, requires_grad=True)
                energy = self.linear(levels(x).detach() + moved).square().sum()
                if energy.grad_fn is not None:
                    x = x - 1e-6 * torch.autograd.grad(energy, moved)[0]
            return super().forward(x)

    case = linear_case(THREAT, 10, shape=IMAGE)
    assert "substitutes" in derive(Purified(case.model, before=levels), case.x)


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


def test_a_module_without_a_length_is_not_taken_for_none():
    """A compiled module raises when Python asks whether it is empty, and a container of nothing says that it is."""

    class Unsized(Behind):
        def __len__(self):
            raise TypeError("no length")

    class Empty(Behind):
        def __len__(self):
            return 0

    case = linear_case(THREAT, 10, shape=IMAGE)
    expected = set(derive(Behind(case.model, before=BEFORE["round"]), case.x))
    assert expected
    for kind in (Unsized, Empty):
        assert set(derive(kind(case.model, before=BEFORE["round"]), case.x)) == expected
