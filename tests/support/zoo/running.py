"""Evaluate a member of the zoo and put it beside its truth."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import harness
from zoo.bases import THREAT, Bases
from zoo.member import Member

ATTACKS = ("fgsm", "pgd-20", "autoattack", "adaptive")


@dataclass(frozen=True)
class Row:
    """What was found of one member with one seed; ``truth`` is a fraction, as the accuracies are."""

    name: str
    mechanism: str
    seed: int
    accuracy: dict[str, float]
    truth: float
    verdict: str
    codes: tuple[str, ...]
    seconds: float

    @property
    def gap(self) -> float:
        """How far the worst case that was found lies above the truth."""
        return self.accuracy["worst-case"] - self.truth


def examine(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: harness.Threat,
    *,
    name: str = "",
    mechanism: str = "",
    truth: float | None = None,
    seed: int = 0,
    attacks: Sequence[str] = ATTACKS,
) -> Row:
    """One library call on any model; without a ``truth``, its own worst case is the truth."""
    started = time.perf_counter()
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # what a randomised defence draws
        found = harness.evaluate(model, x, y, threat=threat, attacks=attacks, seed=seed)
    truth = found.accuracy["worst-case"] if truth is None else truth
    codes = tuple(finding.code for finding in found.findings)
    return Row(name, mechanism, seed, found.accuracy, truth, found.verdict, codes, time.perf_counter() - started)


def evaluate_member(member: Member, zoo: Bases, seed: int, examples: int, attacks: Sequence[str] = ATTACKS) -> Row:
    """Attack the member on the first test images; an honest member's truth is its own worst case."""
    return examine(
        member.make(zoo, seed),
        *zoo.test_images(examples),
        THREAT,
        name=member.name,
        mechanism=member.mechanism,
        truth=truth_of(member, zoo, seed, examples),
        seed=seed,
        attacks=attacks,
    )


def truth_of(member: Member, zoo: Bases, seed: int, examples: int) -> float | None:
    """The accuracy that AutoAttack leaves of the model behind the mask; None for an honest member."""
    source = member.truth
    if source is None:
        return None
    key = (source if isinstance(source, str) else member.name, seed, examples)
    if key not in zoo.truths:
        model = zoo.trained(source, seed) if isinstance(source, str) else source(zoo, seed)
        x, y = zoo.test_images(examples)
        found = harness.evaluate(model, x, y, threat=THREAT, attacks=["autoattack"], diagnostics=False, seed=seed)
        zoo.truths[key] = found.accuracy["worst-case"]
    return zoo.truths[key]
