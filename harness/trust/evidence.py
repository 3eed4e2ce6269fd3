"""What is known of a model under attack, and the one number that each check reads from it. No torch in here."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from results.names import AUTOATTACK, FAST, NATURAL, WORST_CASE
from results.statistics import wilson

if TYPE_CHECKING:
    from harness.trust.probes import Probes

# A cross-entropy whose gradient vanishes does no harm where PGD stays this close to attacks on other losses.
HARMLESS = 0.03
# What a second look at a model that seems to guess must show to be worth a word.
HALF = 0.5


@dataclass(frozen=True)
class Evidence:
    """What is known of one model under one threat."""

    accuracy: Mapping[str, float]
    """``natural``, each attack by name, ``worst-case``: fractions of the same examples."""
    examples: int
    """How many they are."""
    broken_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Attack to each part of it, in order, to how many examples it broke of those that the parts before it left."""
    lost: Mapping[str, int] = field(default_factory=dict)
    """Attack to how many successes it claimed that the stored model, asked again in float32, did not confirm."""
    probes: "Probes | None" = None
    """What :func:`harness.trust.probes.probe` measured."""


class Measure(NamedTuple):
    """``value`` in the check's unit, the numbers it comes from in words, and of how many examples it is a share."""

    value: float
    text: str
    examples: int | None = None

    @property
    def chance(self) -> float:
        """What chance alone may contribute to a share, in points: two examples."""
        return 0.0 if self.examples is None else 200 / max(self.examples, 1)


# Evidence to its number; None where the evidence does not say.
Reading = Callable[[Evidence], Measure | None]


def no_better_than_chance(evidence: Evidence) -> Measure | None:
    """1 if the natural accuracy may be that of guessing, by its Wilson interval; with what would make it better."""

    def read(p: "Probes") -> Measure | None:
        natural = evidence.accuracy.get(NATURAL)
        if natural is None or not p.classes:
            return None
        low, _ = wilson(round(natural * evidence.examples), evidence.examples)
        text = f"natural {_percent(natural)} (95 %: from {_percent(low)}), chance {_percent(1 / p.classes)}"
        if p.renamed > HALF:
            text += f"; {_percent(p.renamed)} with the classes in another order: are the labels those of this model?"
        if p.as_bytes > HALF:
            text += f"; {_percent(p.as_bytes)} on images times 255: does the model divide by 255 itself?"
        return Measure(float(low <= 1 / p.classes), text)

    return _probed(evidence, read)


def above_natural(evidence: Evidence) -> Measure | None:
    """The highest accuracy under attack minus the natural one."""
    attacked = {name: value for name, value in evidence.accuracy.items() if name != NATURAL}
    return _gap(evidence, max(attacked, key=attacked.__getitem__, default=None), NATURAL)


def fgsm_below_pgd(evidence: Evidence) -> Measure | None:
    """The lowest accuracy under PGD minus that under FGSM."""
    return _gap(evidence, _strongest_pgd(evidence.accuracy), "fgsm")


def autoattack_below_pgd(evidence: Evidence) -> Measure | None:
    """The lowest accuracy under PGD minus that under AutoAttack."""
    return _gap(evidence, _strongest_pgd(evidence.accuracy), _autoattack(evidence))


def adaptive_below_autoattack(evidence: Evidence) -> Measure | None:
    """The accuracy under AutoAttack minus that under the adaptive attack."""
    return _gap(evidence, _autoattack(evidence), "adaptive")


def broken_by_apgd_t(evidence: Evidence) -> Measure | None:
    """What APGD-T broke of what APGD-CE had left (with three classes: APGD-DLR)."""
    return _broken(evidence, _autoattack(evidence), lambda part: part in ("apgd-t", "apgd-dlr"))


def broken_by_square(evidence: Evidence) -> Measure | None:
    """What Square broke of what three white-box attacks had left."""
    return _broken(evidence, _autoattack(evidence), lambda part: part == "square")


def broken_by_transfer(evidence: Evidence) -> Measure | None:
    """What gradients of another model broke, of what the parts of the adaptive attack before them had left."""
    return _broken(evidence, "adaptive", lambda part: "transfer:" in part)


def unconfirmed(evidence: Evidence) -> Measure | None:
    """The most successes that one attack claimed and the stored model did not confirm."""
    if not evidence.lost:
        return None
    attack, count = max(evidence.lost.items(), key=lambda item: item[1])
    return _share(count / max(evidence.examples, 1), f"{attack} claims {count} more", evidence.examples)


def strong_attacks_missing(evidence: Evidence) -> Measure:
    """How many of AutoAttack and the adaptive attack were not run; the fast form, which spares examples, is neither."""
    autoattack = () if evidence.accuracy.keys() & set(AUTOATTACK) else AUTOATTACK[:1]
    missing = [name for name in (*autoattack, "adaptive") if name not in evidence.accuracy]
    run = sorted(evidence.accuracy.keys() - {NATURAL, WORST_CASE})
    return Measure(len(missing), f"missing: {' and '.join(missing)}; attacks run: {', '.join(run) or 'none'}")


def zero_gradient(evidence: Evidence) -> Measure | None:
    """The larger share with a zero gradient; everything if autograd gives none at all."""

    def read(p: "Probes") -> Measure:
        if not p.gradient_reaches:
            return _share(1.0, "autograd does not connect the logits to the images", p.attacked)
        return _larger(p.zero_gradient_clean, p.zero_gradient_start, p.attacked)

    return _probed(evidence, read)


def vanishing_gradient(evidence: Evidence) -> Measure | None:
    """The larger share that stands with a vanishing gradient; nothing where PGD finds as much as stronger attacks."""
    accuracy, pgd = evidence.accuracy, _strongest_pgd(evidence.accuracy)
    strong = [accuracy[name] for name in (_autoattack(evidence), "adaptive") if name in accuracy]
    if pgd and strong and accuracy[pgd] - min(strong) <= HARMLESS + 2 / max(evidence.examples, 1):
        return None
    return _probed(evidence, lambda p: _larger(p.vanishing_gradient_clean, p.vanishing_gradient_start, p.attacked))


def gradient_turn(evidence: Evidence) -> Measure | None:
    """How far small noise turns the gradient: 1 minus the cosine."""
    return _probed(evidence, lambda p: Measure(1 - p.gradient_cosine, f"mean cosine {p.gradient_cosine:.3f}"))


def broken_promise(evidence: Evidence) -> Measure | None:
    """How badly the gradient foretells what small moves do: 1 minus their correlation."""
    return _probed(evidence, lambda p: Measure(1 - p.foretold, f"correlation with finite differences {p.foretold:.2f}"))


def loss_noise(evidence: Evidence) -> Measure | None:
    """How much small noise changes the loss, beside what an attack gains."""
    return _probed(evidence, lambda p: Measure(p.loss_noise, f"share of the loss' movement {p.loss_noise:.3f}"))


def probed_share(name: str) -> Reading:
    """The reading of a field of the probes that is a share of the attacked examples."""

    def read(p: "Probes") -> Measure:
        share: float = getattr(p, name)
        return _share(share, f"{_percent(share)} % of {p.attacked} examples", p.attacked)

    return lambda evidence: _probed(evidence, read)


def unbounded_left(evidence: Evidence) -> Measure | None:
    """The share that stands when every image in [0, 1] is allowed."""

    def read(p: "Probes") -> Measure | None:
        return _share(p.curve["box"], _curve(p), p.attacked) if p.curve else None

    return _probed(evidence, read)


def highest_rise(evidence: Evidence) -> Measure | None:
    """The most that the accuracy rises from one eps to the next larger one."""

    def read(p: "Probes") -> Measure | None:
        shares = [share for _, share in _by_eps(p)]
        rises = (larger - smaller for smaller, larger in pairwise(shares))
        return _share(max(rises, default=0.0), _curve(p), p.attacked) if p.curve else None

    return _probed(evidence, read)


def forward_spread(evidence: Evidence) -> Measure | None:
    """How far the logits of the same image lie apart."""
    return _probed(evidence, lambda p: Measure(p.forward_spread, f"normalised logits differ by {p.forward_spread:.2g}"))


def answers_otherwise(evidence: Evidence) -> Measure | None:
    """The share whose logits are other ones where a gradient is wanted."""

    def read(p: "Probes") -> Measure:
        return _share(p.otherwise, f"{_percent(p.otherwise)} % of {p.examples} examples", p.examples)

    return _probed(evidence, read)


def depends_on_batch(evidence: Evidence) -> Measure | None:
    """The share of examples whose logits are other ones beside other images."""
    return _probed(evidence, lambda p: Measure(p.in_pairs, f"{_percent(p.in_pairs)} % of the first examples"))


def softmax_output(evidence: Evidence) -> Measure | None:
    """1 if the outputs are probabilities."""
    return _probed(evidence, lambda p: Measure(float(p.softmax_output), "outputs lie in [0, 1] and sum to 1"))


def autograd_calls(evidence: Evidence) -> Measure | None:
    """Calls of autograd in one forward pass."""
    return _probed(evidence, lambda p: Measure(p.autograd_calls, f"{p.autograd_calls} calls in one forward pass"))


def _autoattack(evidence: Evidence) -> str:
    """The authors' own code stands in for AutoAttack where only that was run, then the fast form for what it found."""
    families = {name.partition(":")[0]: name for name in evidence.accuracy}
    return next((families[each] for each in (*AUTOATTACK, FAST) if each in families), AUTOATTACK[0])


def _gap(evidence: Evidence, upper: str | None, lower: str) -> Measure | None:
    """How many points of accuracy the attack ``upper`` leaves above ``lower``."""
    accuracy = evidence.accuracy
    if upper is None or upper not in accuracy or lower not in accuracy:
        return None
    text = f"{upper} {_percent(accuracy[upper])}, {lower} {_percent(accuracy[lower])}"
    return _share(accuracy[upper] - accuracy[lower], text, evidence.examples)


def _broken(evidence: Evidence, attack: str, which: Callable[[str], bool]) -> Measure | None:
    """The points that those parts of an attack took."""
    counts = {part: count for part, count in evidence.broken_by.get(attack, {}).items() if which(part)}
    if not counts:
        return None
    text = ", ".join(f"{part} broke {count}" for part, count in counts.items() if count) or "none"
    return _share(sum(counts.values()) / max(evidence.examples, 1), f"{text} of {evidence.examples}", evidence.examples)


def _probed(evidence: Evidence, read: Callable[["Probes"], Measure | None]) -> Measure | None:
    return None if evidence.probes is None else read(evidence.probes)


def _share(fraction: float, text: str, examples: int) -> Measure:
    return Measure(100 * fraction, text, examples)


def _larger(clean: float, start: float, examples: int) -> Measure:
    text = f"at the image {_percent(clean)} %, at a random start {_percent(start)} %"
    return _share(max(clean, start), text, examples)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _strongest_pgd(accuracy: Mapping[str, float]) -> str | None:
    """The PGD that leaves least, whatever its parameters: ``pgd-20``, ``pgd-100:restarts=5``, ``pgd``."""
    found = [name for name in accuracy if re.split("[-:]", name)[0] == "pgd"]
    return min(found, key=accuracy.__getitem__, default=None)


def _by_eps(probes: "Probes") -> Iterable[tuple[str, float]]:
    """Eps in units of the threat's, or ``box``, and the share that stands, from the smallest eps to the largest."""
    return sorted(probes.curve.items(), key=lambda item: float("inf") if item[0] == "box" else float(item[0]))


def _curve(probes: "Probes") -> str:
    return "stand at eps x " + ", ".join(f"{multiple}: {_percent(share)} %" for multiple, share in _by_eps(probes))
