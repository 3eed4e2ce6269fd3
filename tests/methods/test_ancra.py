"""ANCRA against its definition, written out with loops: the contrast, the heads, the attacks, and the composition."""

import copy
from dataclasses import asdict, dataclass

import pytest
import torch
import torch.nn.functional as F
from method_equations import THREATS, assert_same_gradients, bce, built, ce, images, kl, own_probability, step
from torch import Tensor

from harness.api.errors import HarnessError
from harness.api.method import LossTerms, methods
from harness.api.model import Heads, Inputs, heads_of, models
from harness.plugins import load_plugins
from methods.adversarial import AdversarialTraining, Batch
from methods.ancra import Ancra, NegativeContrast, ReverseAttention, asymmetric_similarity
from methods.ancra_variants import MartAncra, PgdAtAncra, TradesAncra
from methods.negatives import STRATEGIES

load_plugins()
THREAT = THREATS[0]
VARIANTS = [f"{base}-{part}" for base in ("pgd-at", "trades", "mart") for part in ("ancra", "anc", "ra")]


def similarity(q: Tensor, r: Tensor) -> Tensor:
    """sqrt(max q * max r) of two rows of probabilities if their largest entries are in the same place, else 0."""
    same = max(range(len(q)), key=q.tolist().__getitem__) == max(range(len(r)), key=r.tolist().__getitem__)
    return (q.max() * r.max()) ** 0.5 if same else torch.zeros((), dtype=q.dtype)


def contrast(anchors: Tensor, negatives: Tensor, alpha: float) -> Tensor:
    """L_anc of logits, pair by pair."""
    q, r = (logits.exp() / logits.exp().sum(1, keepdim=True) for logits in (anchors, negatives))
    pairs = [
        alpha * similarity(q[i].detach(), r[i]) + (1 - alpha) * similarity(q[i], r[i].detach()) for i in range(len(q))
    ]
    return sum(pairs) / len(pairs)


def over(term, *heads: Heads, weight: float) -> Tensor:
    """term(logits) + weight * mean(term(aux) for aux in auxiliary), as DESIGN writes it, in double precision."""
    total = term(*(h.logits.double() for h in heads))
    parts = [term(*(h.auxiliary[k].double() for h in heads)) for k in range(len(heads[0].auxiliary))]
    return total + weight * sum(parts) / len(parts) if parts else total


def base_terms(base: str, natural: Heads, adversarial: Heads, y: Tensor, weight: float) -> dict[str, tuple]:
    """The named terms of each base objective over heads, with their weights."""

    def whole(term, *heads):
        return over(term, *heads, weight=weight)

    if base == "pgd-at":
        return {"robust": (1, whole(lambda a: ce(a, y).mean(), adversarial))}
    if base == "trades":
        return {
            "natural": (1, whole(lambda z: ce(z, y).mean(), natural)),
            "robust": (6, whole(lambda z, a: kl(z, a).mean(), natural, adversarial)),
        }
    consistency = whole(lambda z, a: (kl(z, a) * (1 - own_probability(z, y))).mean(), natural, adversarial)
    return {"robust": (1, whole(lambda a: bce(a, y).mean(), adversarial)), "consistency": (6, consistency)}


def check_loss(method, base: str) -> None:
    """Total, terms and all gradients of one step equal the definition on the examples that the attacks made."""
    model, (x, y) = built(method), images()
    twin = copy.deepcopy(model)
    draws = Batch(twin, x, y, THREAT, step(11))
    if isinstance(method, NegativeContrast):
        index = method.negatives(draws)
        x_neg = method.negative_images(draws, index)
    x_adv = method.attack(draws)
    weight = asdict(method).get("aux_weight", 0.0)
    natural, adversarial = heads_of(twin, x, y), heads_of(twin, x_adv, y)
    terms = base_terms(base, natural, adversarial, y, weight)
    if isinstance(method, NegativeContrast):
        negative = heads_of(twin, x_neg, y[index.flatten()])
        repeated = Heads(*(_repeat(part, index.shape[1]) for part in natural[:2]))
        anc = over(lambda q, r: contrast(q, r, method.alpha), repeated, negative, weight=weight)
        terms["anc"] = (method.zeta, anc)
    loss = method.loss(model, x, y, THREAT, step(11))
    assert loss.terms.keys() == terms.keys()
    for key, (_, term) in terms.items():
        torch.testing.assert_close(loss.terms[key].double(), term.detach(), atol=1e-6, rtol=1e-6, msg=key)
    expected = sum(weight * term for weight, term in terms.values())
    torch.testing.assert_close(loss.total.double(), expected, atol=1e-6, rtol=1e-6)
    assert_same_gradients(model, loss.total, twin, expected)


def _repeat(part, count: int):
    if isinstance(part, tuple):
        return tuple(_repeat(each, count) for each in part)
    return torch.stack([row for row in part for _ in range(count)])


@pytest.mark.parametrize("name", VARIANTS)
def test_the_loss_and_its_gradients_equal_the_definition(name):
    """Label masks and batch statistics in the training passes, every term over the auxiliary heads too."""
    check_loss(methods[name](), name.rsplit("-", 1)[0])


@pytest.mark.parametrize("suffix", ["", "_adv"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_enters_the_loss_as_defined(strategy, suffix):
    check_loss(TradesAncra(strategy=strategy + suffix, alpha=0.3, zeta=1.7, aux_weight=0.6), "trades")


def test_several_negatives_of_an_anchor_are_averaged():
    check_loss(PgdAtAncra(negatives_per_anchor=3, alpha=0.5), "pgd-at")


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_the_similarity_and_its_gradients_equal_the_formula(alpha):
    """On random logits, a third of which agree: values to 1e-12; ``alpha`` shares the gradient between the two."""
    generator = torch.Generator().manual_seed(0)
    q, r = (torch.randn(30, 3, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    ours, expected = asymmetric_similarity(q, r, alpha).mean(), contrast(q, r, alpha)
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=1e-12)
    gradients = [torch.autograd.grad(value, (q, r)) for value in (ours, expected)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-9)
    to_anchor, to_negative = (gradient.abs().sum() > 0 for gradient in gradients[0])
    assert (to_anchor, to_negative) == (alpha < 1, alpha > 0)


def test_the_similarity_is_zero_between_different_predictions_and_finite_at_the_extremes():
    """1 for two certain equal predictions, 1/K for uniform ones; no gradient overflows at logits of 10,000."""
    certain, other, flat = (torch.tensor([row], requires_grad=True) for row in ([1e4, 0, 0], [0, 1e4, 0], [0.0, 0, 0]))
    assert asymmetric_similarity(certain, certain, 0.5).item() == 1
    assert asymmetric_similarity(certain, other, 0.5).item() == 0
    assert asymmetric_similarity(flat, flat, 0.5).item() == pytest.approx(1 / 3)
    for pair in [(certain, certain), (certain, other), (certain, flat), (flat, other)]:
        gradients = torch.autograd.grad(asymmetric_similarity(*pair, 0.5).sum(), set(pair))
        assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("strategy", ["random_adv", "hard"])
@pytest.mark.parametrize("name", ["pgd-at-ancra", "trades-anc"])
def test_a_batch_of_one_class_has_no_contrast(name, strategy):
    """The term is 0, and the gradients are those of the base objective alone."""
    x, _ = images()
    y = torch.full((len(x),), 2)
    gradients = []
    for zeta in (3.0, 0.0):
        method = methods[name](strategy=strategy, zeta=zeta)
        model = built(method)
        loss = method.loss(model, x, y, THREAT, step(epoch=11))
        assert loss.terms["anc"] == 0
        gradients.append(torch.autograd.grad(loss.total, list(model.parameters())))
    for one, other in zip(*gradients, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("strategy", ["soft", "hard_adv", "easy"])
def test_the_first_ten_epochs_draw_at_random(strategy):
    """In epoch 10 every strategy draws what ``random`` draws; from epoch 11 on it ranks."""
    x, y = images(30)

    def drawn(strategy: str, epoch: int) -> Tensor:
        method = TradesAncra(strategy=strategy)
        return method.negatives(Batch(built(method), x, y, THREAT, step(epoch)))

    assert torch.equal(drawn(strategy, 10), drawn("random", 10))
    assert not torch.equal(drawn(strategy, 11), drawn("random", 11))


def test_candidates_are_ranked_by_the_model_in_evaluation_mode():
    """Not by the training pass, in which the label's mask would give the label away."""
    x, y = images(30)
    method = TradesAncra(strategy="soft")
    model = built(method)
    index = method.negatives(Batch(model, x, y, THREAT, step(11)))[:, 0]
    assert model.training
    logits = model.eval()(x).detach()
    predicted = logits.argmax(1)
    found = 0
    for i in range(len(y)):
        others = [j for j in range(len(y)) if predicted[j] == predicted[i] and y[j] != y[i]]
        if others:
            found += 1
            assert index[i] == max(others, key=lambda j: float(logits[j, y[i]]))
    assert found > 5


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_a_negative_is_attacked_towards_the_anchors_label_inside_its_own_ball(threat):
    """Two for each anchor: the cross-entropy over heads of its label falls for nearly all."""
    method = MartAncra(negatives_per_anchor=2)
    model, (x, y) = built(method), images()
    batch = Batch(model, x, y, threat, step())
    index = method.negatives(batch)
    attacked = method.negative_images(batch, index)
    natural = torch.stack([x[j] for row in index.tolist() for j in row])
    target = torch.tensor([label for label in y.tolist() for _ in range(2)])
    assert threat.contains(natural, attacked).all()
    model.eval()
    with torch.no_grad():
        before, after = (over(lambda z: ce(z, target), model.heads(z), weight=2.0) for z in (natural, attacked))
    assert (after < before).float().mean() > 0.9
    assert after.mean() < before.mean() - 1


def test_every_variant_attacks_with_cross_entropy_over_heads_from_the_same_start():
    """TRADES' divergence and PGD-AT's uniform start give way, so that all variants of a model agree."""
    x, y = images()
    for part in ("ancra", "ra", "anc"):
        variants = [methods[f"{base}-{part}"]() for base in ("pgd-at", "trades", "mart")]
        first, *rest = (m.attack(Batch(built(m), x, y, THREAT, step())) for m in variants)
        assert all(torch.equal(first, other) for other in rest)
    plain = methods["trades"]()
    assert not torch.equal(first, plain.attack(Batch(built(plain), x, y, THREAT, step())))


def test_the_attack_sees_the_auxiliary_heads():
    """One L2 step from the start lies along the gradient of CE(logits) + aux_weight * mean CE(auxiliary)."""
    x, y = images()
    for weight in (0.0, 5.0):
        method, threat = TradesAncra(attack_steps=1, aux_weight=weight), THREATS[1]
        model = built(method)
        x_adv = method.attack(Batch(model, x, y, threat, step()))
        start = x + 0.001 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
        start = start.clamp(0, 1).requires_grad_()
        heads = model.eval().heads(start)
        terms = [F.cross_entropy(logits, y, reduction="sum") for logits in (heads.logits, *heads.auxiliary)]
        (gradient,) = torch.autograd.grad(terms[0] + weight * (terms[1] + terms[2]) / 2, start)
        direction = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        expected = (start + threat.step_size * direction).clamp(0, 1)
        torch.testing.assert_close(x_adv, expected.detach(), atol=1e-5, rtol=1e-4)


def test_reverse_attention_is_built_where_a_method_asks_for_it():
    x, _ = images()
    for name in VARIANTS:
        heads = built(methods[name]()).heads(x)
        assert len(heads.auxiliary) == (0 if name.endswith("-anc") else 2)


def test_a_model_without_reverse_attention_is_an_error_that_says_so():
    before = models.snapshot()
    models.add("plain-only")(lambda num_classes, inputs: torch.nn.Flatten())
    try:
        assert isinstance(methods["trades-anc"]().build_model("plain-only", 2, Inputs()), torch.nn.Flatten)
        with pytest.raises(HarnessError, match="model 'plain-only' has no reverse attention"):
            TradesAncra().build_model("plain-only", 2, Inputs())
    finally:
        models.restore(before)


@dataclass(frozen=True, kw_only=True)
class Mine(AdversarialTraining):
    """A third party's base: the squared norm of the difference of logits, with a weight of its own."""

    summary = "logit pairing"
    pairing: float = 0.5

    def objective(self, batch: Batch) -> LossTerms:
        robust = super().objective(batch)
        adversarial = heads_of(batch.model, batch.x.flip(3), batch.y)
        pairs = self.over(lambda z, a: (z - a).pow(2).sum(1).mean(), batch.natural, adversarial)
        return LossTerms(robust.total + self.pairing * pairs, {**robust.terms, "pairing": pairs.detach()})


@pytest.mark.parametrize("part", [Ancra, NegativeContrast, ReverseAttention])
def test_anyones_base_is_wrapped_by_a_class_without_a_body(part):
    """The composed method has the fields of both sides, the base's terms over heads, and the contrast."""

    @dataclass(frozen=True, kw_only=True)
    class Composed(part, Mine):
        summary = "mine, composed"

    method = Composed(pairing=0.25)
    assert asdict(method).keys() == asdict(Mine()).keys() | asdict(part()).keys()
    model, (x, y) = built(method), images()
    twin = copy.deepcopy(model)
    weight = asdict(method).get("aux_weight", 0.0)
    draws = Batch(twin, x, y, THREAT, step())
    if part is not ReverseAttention:
        method.negative_images(draws, method.negatives(draws))
    x_adv = method.attack(draws)
    natural, flipped = heads_of(twin, x, y), heads_of(twin, x.flip(3), y)
    pairs = over(lambda z, a: ((z - a) ** 2).sum(1).mean(), natural, flipped, weight=weight)
    robust = over(lambda a: ce(a, y).mean(), heads_of(twin, x_adv, y), weight=weight)
    loss = method.loss(model, x, y, THREAT, step())
    anc = 3.0 * loss.terms["anc"] if "anc" in loss.terms else 0.0
    assert ("anc" in loss.terms) == (part is not ReverseAttention)
    torch.testing.assert_close(loss.total.double(), robust + 0.25 * pairs + anc, atol=1e-6, rtol=1e-6)
