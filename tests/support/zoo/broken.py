"""The broken defences by name. ``-at`` is a mechanism around an adversarially trained model, the harder case."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zoo.bases import Bases, descend
from zoo.inputs import Detached, Evasive, FlippedGradient, HalfDetached, Jpeg, Quantised, Shattered
from zoo.layers import KWinners, Network, Sign, Thermometer
from zoo.member import Make, Member, around
from zoo.outputs import Boosted, Decoy, HardLabel, Mean, Rounded, Saturated, Sine, Softmax, Vote
from zoo.randomised import Dropped, Noisy, RandomlyShattered, Resized

TEMPERATURE = 100.0
VOTERS = 3


def _network(name: str, build: Callable[[Bases], nn.Module], *, attack_steps: int = 0, masked: bool = True) -> Make:
    """A trained network whose layers mask its gradient, or the same network with the mask off."""

    def make(zoo: Bases, seed: int) -> nn.Module:
        model = zoo.fitted(
            name, seed, lambda: build(zoo), lambda model: descend(model, zoo.data, seed, attack_steps=attack_steps)
        )
        for layer in model.modules():
            if hasattr(layer, "masked"):
                layer.masked = masked
        return model

    return make


def _trained(name: str, mechanism: str, build: Callable[[Bases], nn.Module], attack_steps: int = 0) -> Member:
    network = partial(_network, name, build, attack_steps=attack_steps)
    return Member(name, mechanism, network(), network(masked=False))


def _thermometer(zoo: Bases) -> nn.Module:
    encoding = Thermometer()
    return Network(encoding.levels * zoo.data.channels, nn.ReLU, encoding)


def _distilled(zoo: Bases, seed: int, *, factor: float = 1.0) -> nn.Module:
    def build() -> nn.Module:
        return Network(zoo.data.channels, nn.ReLU)

    def distil(student: nn.Module) -> None:
        teacher = build()
        descend(teacher, zoo.data, seed, temperature=TEMPERATURE)

        @torch.no_grad()
        def soften(x: Tensor) -> Tensor:
            return (teacher(x) / TEMPERATURE).softmax(1)

        descend(student, zoo.data, seed, targets=soften, temperature=TEMPERATURE)

    return Saturated(zoo.fitted("distilled", seed, build, distil), factor)


def _voters(zoo: Bases, seed: int) -> list[nn.Module]:
    return [zoo.trained("natural", seed + k) for k in range(VOTERS)]


def _self_vote(base: nn.Module) -> nn.Module:
    return Vote([base, Quantised(base, 16), Jpeg(base, 0.1)])


def _members() -> list[Member]:
    quantised = ("pixels rounded to 8 levels (Guo et al. 2018, arXiv 1711.00117)", Quantised)
    rippled = ("steep ripple on the pixels (shattered gradients, Athalye et al. 2018, arXiv 1802.00420)", Shattered)
    resized = ("scaled and shifted at random (Xie et al. 2018, arXiv 1711.01991)", Resized)
    smooth, even = partial(Quantised, masked=False), partial(Shattered, masked=False)
    return [
        around("natural", "quantised", *quantised, smooth),
        around("pgd-at", "quantised-at", *quantised, smooth),
        around(
            "natural",
            "jpeg",
            "cosine coefficients rounded (Guo et al. 2018, arXiv 1711.00117)",
            Jpeg,
            partial(Jpeg, masked=False),
        ),
        _trained("thermometer", "thermometer encoding (Buckman et al. 2018, openreview S18Su--CW)", _thermometer),
        around("natural", "shattered", *rippled, even),
        around("pgd-at", "shattered-at", *rippled, even),
        _trained(
            "sign",
            "binary activations (Galloway et al. 2018, arXiv 1711.00449)",
            lambda zoo: Network(zoo.data.channels, Sign),
        ),
        _trained(
            "k-winners",
            "k-winners-take-all, PGD-AT (Xiao et al. 2020, arXiv 1905.10510)",
            lambda zoo: Network(zoo.data.channels, KWinners),
            attack_steps=5,
        ),
        around("pgd-at", "saturated-at", "logits x1000 (Carlini & Wagner 2017, arXiv 1608.04644)", Saturated),
        Member(
            "distilled",
            "distillation at temperature 100 (Papernot et al. 2016, arXiv 1511.04508)",
            _distilled,
            partial(_distilled, factor=1 / TEMPERATURE),
        ),
        around("natural", "resized", *resized),
        around("pgd-at", "resized-at", *resized),
        around("pgd-at", "noisy-at", "noise at inference (Liu et al. 2018, arXiv 1712.00673)", Noisy),
        around("pgd-at", "dropout-at", "dropout at inference (Dhillon et al. 2018, arXiv 1803.01442)", Dropped),
        around("pgd-at", "random-ripple-at", "steep ripple of random phase (arXiv 1802.00420)", RandomlyShattered),
        around("natural", "softmax", "saturated probabilities as output (cf. arXiv 2003.01690)", Softmax),
        around("pgd-at", "sine-at", "steep ripple on the logits (shattered gradients, arXiv 1802.00420)", Sine),
        around("pgd-at", "rounded-at", "logits rounded to tenths (shattered gradients, arXiv 1802.00420)", Rounded),
        around("pgd-at", "boosted-at", "the winner's logit is raised by 100 (argmax gate)", Boosted),
        Member(
            "reverse-attention",
            "argmax-gated features (Zhou et al. 2023, arXiv 2310.03358)",
            lambda zoo, seed: zoo.trained("pgd-at-ra", seed),
            "pgd-at",
        ),
        Member(
            "reverse-attention-anonymous",
            "argmax-gated features of a model that names no stand-ins (arXiv 2310.03358)",
            lambda zoo, seed: nn.Sequential(zoo.trained("pgd-at-ra", seed)),
            "pgd-at",
        ),
        around("natural", "detached", "image cut off from the graph (arXiv 1802.00420)", Detached),
        around("pgd-at", "half-detached-at", "every second pixel cut off from the graph", HalfDetached),
        around("pgd-at", "hard-label-at", "one-hot output (Brendel et al. 2018, arXiv 1712.04248)", HardLabel),
        Member(
            "vote",
            "three models have one vote each (cf. He et al. 2017, arXiv 1706.04701)",
            lambda zoo, seed: Vote(_voters(zoo, seed)),
            lambda zoo, seed: Mean(_voters(zoo, seed)),
            _self_vote,
        ),
        around("natural", "decoy", "the gradient of a random linear map (cf. arXiv 1802.00420)", Decoy),
        around("pgd-at", "flipped-at", "half of the gradient's signs negated (cf. arXiv 1802.00420)", FlippedGradient),
        around("natural", "evasive", "another answer where a gradient is wanted: a saboteur", Evasive, saboteur=True),
    ]


BROKEN = {member.name: member for member in _members()}
