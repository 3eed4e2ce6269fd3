"""Models that are what they seem, robust or not: whoever flags one of them raises a false alarm."""

from torch import nn

from zoo.bases import Bases, descend
from zoo.layers import Linear
from zoo.member import Member
from zoo.outputs import Mean, Saturated


def _linear(zoo: Bases, seed: int) -> nn.Module:
    pixels = zoo.data.channels * zoo.data.size**2
    return zoo.fitted(
        "linear", seed, lambda: Linear(pixels), lambda model: descend(model, zoo.data, seed, attack_steps=5)
    )


def _trained(name: str, mechanism: str, method: str, *settings: str) -> Member:
    return Member(name, mechanism, lambda zoo, seed: zoo.trained(method, seed, settings=settings))


_MEMBERS = [
    _trained("natural", "no defence", "natural"),
    _trained("pgd-at", "PGD adversarial training (Madry et al. 2018, arXiv 1706.06083)", "pgd-at"),
    _trained("trades", "TRADES (Zhang et al. 2019, arXiv 1901.08573)", "trades"),
    _trained("mart", "MART (Wang et al. 2020, openreview rklOg6EFwS)", "mart"),
    _trained(
        "averaged",
        "PGD-AT with averaged weights (Izmailov et al. 2018, arXiv 1803.05407)",
        "pgd-at",
        "protocol.weight_averaging=0.99",
    ),
    Member("linear", "one linear layer, PGD-AT", _linear),
    Member(
        "mean",
        "mean logits of PGD-AT and TRADES",
        lambda zoo, seed: Mean([zoo.trained("pgd-at", seed), zoo.trained("trades", seed)]),
    ),
    Member("timid", "PGD-AT with logits / 3", lambda zoo, seed: Saturated(zoo.trained("pgd-at", seed), 1 / 3)),
]

HONEST = {member.name: member for member in _MEMBERS}
