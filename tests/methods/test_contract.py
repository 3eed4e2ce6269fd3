"""What holds for every registered method: names, fields, and what a loss and an attack leave as they were."""

import copy
import json
from dataclasses import asdict, fields

import pytest
import torch
from method_equations import SEVEN, SIX, THREATS, built, ce, images, kl, step
from torch import Tensor

from harness.api.errors import HarnessError, UnknownName
from harness.api.method import methods
from harness.plugins import load_plugins
from methods.adversarial import Batch
from methods.ancra import NegativeContrast, ReverseAttention, Variant
from methods.ancra_variants import TradesAncra
from methods.mart import Mart
from methods.natural import Natural
from methods.pgd_at import PgdAt
from methods.trades import Trades

load_plugins()
ATTACKING = [*SEVEN[1:], *SIX]


def test_all_is_the_seven_and_ablations_the_six():
    ours = {name: entry for name, entry in methods.items() if entry.__module__.startswith("methods.")}
    assert [name for name, entry in ours.items() if entry.group == "all"] == SEVEN
    assert [name for name, entry in ours.items() if entry.group == "ablations"] == SIX
    for name, entry in ours.items():
        base = name.removesuffix("-ancra").removesuffix("-anc").removesuffix("-ra")
        assert issubclass(entry, methods[base])
        assert issubclass(entry, NegativeContrast) == name.endswith(("-ancra", "-anc"))
        assert issubclass(entry, ReverseAttention) == name.endswith(("-ancra", "-ra"))


@pytest.mark.parametrize("name", [*SEVEN, *SIX])
def test_a_method_is_rebuilt_from_its_stored_fields(name):
    """``asdict``, through JSON, gives an equal method back, with changed values too; and it cannot be changed."""
    for method in (methods[name](), methods[name](**{f.name: 1 for f in fields(methods[name]) if f.type is not str})):
        assert methods[name](**json.loads(json.dumps(asdict(method)))) == method
        with pytest.raises(AttributeError, match="cannot assign"):
            method.attack_steps = 3


@pytest.mark.parametrize("name", [*SEVEN, *SIX])
def test_a_method_says_what_it_is_and_where_it_comes_from(name):
    entry = methods[name]
    assert entry.summary
    if name == "natural":
        assert entry.paper is None
        return
    assert entry.paper.url.startswith("https://")
    assert entry.paper.title in entry.paper.bibtex
    assert entry.paper.bibtex.count("{") == entry.paper.bibtex.count("}")
    assert (entry.paper is Variant.paper) == name.endswith(("-ancra", "-anc", "-ra"))


def test_the_defaults_are_the_papers():
    assert asdict(TradesAncra()) == {
        "attack_steps": 10,
        "start_noise": 0.001,
        "random_epochs": 10,
        "beta": 6.0,
        "zeta": 3.0,
        "aux_weight": 2.0,
        "alpha": 1.0,
        "strategy": "random_adv",
        "negatives_per_anchor": 1,
    }
    assert asdict(Mart()) == asdict(Trades()) == {"attack_steps": 10, "start_noise": 0.001, "beta": 6.0}
    assert asdict(PgdAt()) == {"attack_steps": 10}
    assert asdict(Natural()) == {}


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("attack_steps", 0, "a whole number of at least 1, got 0"),
        ("attack_steps", 2.0, "a whole number of at least 1, got 2.0"),
        ("attack_steps", True, "a whole number of at least 1, got True"),
        ("negatives_per_anchor", 0, "a whole number of at least 1, got 0"),
        ("beta", -1, "a number of at least 0, got -1"),
        ("beta", float("nan"), "a number of at least 0, got nan"),
        ("zeta", float("inf"), "a number of at least 0, got inf"),
        ("aux_weight", "2", "a number of at least 0, got '2'"),
        ("alpha", 1.5, "a number from 0 to 1, got 1.5"),
    ],
)
def test_a_value_out_of_range_is_an_error_that_says_what_would_be_right(field, value, wanted):
    with pytest.raises(HarnessError, match=f"TradesAncra: {field} must be {wanted}"):
        TradesAncra(**{field: value})


def test_an_unknown_strategy_is_an_error_that_names_the_nearest():
    with pytest.raises(UnknownName, match=r"unknown strategy 'randm_adv'\. Did you mean 'random_adv'\?"):
        TradesAncra(strategy="randm_adv")


@pytest.mark.parametrize("threat", THREATS, ids=str)
@pytest.mark.parametrize("name", ATTACKING)
def test_the_inner_step_raises_its_own_objective_inside_the_ball(name, threat):
    """The objective is the KL for plain TRADES and the cross-entropy over all heads for the others."""
    method = methods[name]()
    model, (x, y) = built(method), images()
    x_adv = method.attack(Batch(model, x, y, threat, step()))
    assert threat.contains(x, x_adv).all()
    model.eval()
    weight = getattr(method, "aux_weight", 0.0)

    def objective(z: Tensor) -> Tensor:
        heads = model.heads(z)
        if name == "trades":
            return kl(model(x), heads.logits)
        auxiliary = sum((ce(logits, y) for logits in heads.auxiliary), torch.zeros(())) / max(len(heads.auxiliary), 1)
        return ce(heads.logits, y) + weight * auxiliary

    with torch.no_grad():
        before, after = objective(x), objective(x_adv)
    assert (after > before).float().mean() > 0.9
    assert after.mean() > before.mean() + 0.05


@pytest.mark.parametrize("name", [*SEVEN, *SIX])
def test_a_loss_leaves_modes_gradients_and_images_alone_and_is_repeatable(name):
    """Training mode stays, attacks leave BatchNorm's statistics and ``grad`` alone, the generator fixes everything."""
    method = methods[name](**({"strategy": "hard_adv"} if name.endswith(("-anc", "-ancra")) else {}))
    model, (x, y) = built(method), images()
    network = getattr(model, "network", model)
    network.conv2.eval()
    kept, totals = x.clone(), []
    for _ in range(2):
        torch.manual_seed(len(totals))
        totals.append(method.loss(copy.deepcopy(model), x, y, THREATS[0], step(epoch=11)).total)
    assert torch.equal(*totals)
    assert totals[0].shape == ()
    assert totals[0].isfinite()
    method.loss(model, x, y, THREATS[0], step(epoch=11)).total.backward()
    assert [module.training for module in (model, network.conv1.bn, network.conv2.bn)] == [True, True, False]
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in model.parameters())
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", ATTACKING)
def test_an_inner_attack_touches_no_statistics_and_no_gradient(name):
    method = methods[name]()
    model, (x, y) = built(method), images()
    before = copy.deepcopy(model.state_dict())
    method.attack(Batch(model, x, y, THREATS[0], step()))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "training", "evaluation"),
    [
        ("natural", 1, 0),
        ("pgd-at", 1, 10),
        ("trades", 2, 11),
        ("mart", 2, 10),
        ("trades-ra", 2, 10),
        ("pgd-at-ancra", 3, 20),
        ("trades-ancra", 3, 20),
        ("mart-anc", 3, 20),
    ],
)
def test_no_forward_pass_is_made_twice_and_attacks_come_first(name, training, evaluation):
    """TRADES computes p(x) once for ten steps; the contrast takes over the base's natural pass where it has one."""
    method = methods[name]()
    model, (x, y) = built(method), images()
    passes = []

    def count(module, args, out):
        if isinstance(out, torch.Tensor):  # and no proxy of torch.fx, which looks at the graph once
            passes.append(module.training)

    getattr(model, "network", model).conv1.register_forward_hook(count)
    method.loss(model, x, y, THREATS[0], step())
    assert passes == [False] * evaluation + [True] * training
