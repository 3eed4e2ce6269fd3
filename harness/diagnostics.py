"""Is this evaluation to be believed? Signs of gradient masking read from the accuracies that were measured.

Thresholds are in points of robust accuracy. They are calibrated on published evaluations: honest models lose 2 to 7
points from PGD-20 to AutoAttack (9 on digits), masked ones 13 to 30.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["trusted", "suspect", "masked"]
STRONG_ATTACKS = ("autoattack", "adaptive")

ADAPTIVE_MASKED = 0.03
ADAPTIVE_SUSPECT = 0.015
FGSM_MARGIN = 0.01
PGD_SUSPECT = 0.12

# AutoAttack's own warnings (Croce & Hein 2020, flags_doc.md of the reference implementation), by a telling word.
_WARNINGS = {
    "randomized": (
        "randomised-forward",
        "repeat the attack over the randomness (EOT), or fix the randomness",
    ),
    "probability distribution": (
        "softmax-output",
        "return logits: a softmax saturates and hides the gradient",
    ),
    "dynamic": (
        "dynamic-forward",
        "a model that optimises at inference needs an attack through that optimisation",
    ),
    "zero gradient": (
        "zero-gradient",
        "look for saturation, quantisation or detached features before the logits",
    ),
    "Square Attack": (
        "black-box-wins",
        "a black-box attack found more than gradients did: the gradients mislead",
    ),
}


@dataclass(frozen=True)
class Finding:
    """One reason to doubt a number: what was seen (``evidence``), and what to do about it (``advice``)."""

    code: str
    severity: Verdict
    message: str
    evidence: str
    advice: str


def diagnose(accuracy: Mapping[str, float], examples: int, warnings: Iterable[str] = ()) -> list[Finding]:
    """Findings about one model from its accuracies (fractions) by attack and the attack library's warnings.

    With few ``examples`` a gap must be wider by two of them: so much is chance.
    """
    slack = 2 / max(examples, 1)
    findings = [*_adaptive_gap(accuracy, slack), *_fgsm_beats_pgd(accuracy, slack), *_pgd_gap(accuracy, slack)]
    for text in warnings:
        for word, (code, advice) in _WARNINGS.items():
            if word in text and code not in {finding.code for finding in findings}:
                first_sentence = text.partition(". ")[0]
                findings.append(Finding(code, "suspect", "AutoAttack warns", first_sentence, advice))
    missing = [name for name in STRONG_ATTACKS if name not in accuracy]
    run = [name for name in accuracy if name not in ("natural", "worst-case")]
    if missing:
        findings.append(
            Finding(
                "weak-evaluation",
                "suspect",
                f"not attacked by {' and '.join(missing)} at full strength",
                f"attacks run: {', '.join(run) or 'none'}",
                f"add {','.join(missing)} to the attacks before the number is reported",
            )
        )
    return findings


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst severity among the findings; ``trusted`` when there is none."""
    severities = {finding.severity for finding in findings}
    return "masked" if "masked" in severities else "suspect" if "suspect" in severities else "trusted"


def annotate(frame: "pd.DataFrame") -> "pd.DataFrame":
    """The long-form results with a ``verdict`` and its reason (``why``) on every row.

    A verdict belongs to one trained model under one threat: all rows of a (train_id, checkpoint, threat) share it. It
    compares only attacks on the same examples: of several numbers, the one that most attacks have.
    """
    frame = frame.assign(verdict="", why="")
    for _, rows in frame.groupby(["train_id", "checkpoint", "threat"], sort=False):
        examples = _shared_examples(rows)
        alike = rows[rows["examples"] == examples]
        said = [line for text in alike["warnings"] for line in str(text or "").splitlines()]
        findings = diagnose(dict(zip(alike["attack"], alike["accuracy"], strict=True)), examples, said)
        frame.loc[rows.index, "verdict"] = verdict_of(findings)
        frame.loc[rows.index, "why"] = "; ".join(f"{f.message} ({f.evidence})" for f in findings)
    return frame


def _shared_examples(rows: "pd.DataFrame") -> int:
    """The number of examples that most attacks were run on; of several such, the largest."""
    counts = rows.groupby("examples")["attack"].nunique()
    return int(counts[counts == counts.max()].index.max())


def _strongest_pgd(accuracy: Mapping[str, float]) -> float | None:
    """The lowest accuracy under PGD, whatever its parameters: ``pgd-20``, ``pgd-100:restarts=5``, ``pgd``."""
    found = [value for name, value in accuracy.items() if re.split("[-:]", name)[0] == "pgd"]
    return min(found, default=None)


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}"


def _adaptive_gap(accuracy: Mapping[str, float], slack: float) -> list[Finding]:
    """Reverse attention gains 10 points under AutoAttack and none under an attack that knows the model."""
    if not {"autoattack", "adaptive"} <= accuracy.keys():
        return []
    gap = accuracy["autoattack"] - accuracy["adaptive"]
    if gap - slack <= ADAPTIVE_SUSPECT:
        return []
    return [
        Finding(
            "adaptive-below-autoattack",
            "masked" if gap - slack > ADAPTIVE_MASKED else "suspect",
            f"AutoAttack overestimates by {_points(gap)} points",
            f"autoattack {_points(accuracy['autoattack'])}, adaptive {_points(accuracy['adaptive'])}",
            "report the worst case; AutoAttack does not see what this model hides",
        )
    ]


def _fgsm_beats_pgd(accuracy: Mapping[str, float], slack: float) -> list[Finding]:
    strongest = _strongest_pgd(accuracy)
    if strongest is None or strongest - accuracy.get("fgsm", 1.0) - slack <= FGSM_MARGIN:
        return []
    return [
        Finding(
            "fgsm-beats-pgd",
            "masked",
            "one step finds more than many",
            f"fgsm {_points(accuracy['fgsm'])}, pgd {_points(strongest)}",
            "the loss surface is not what the gradient says: attack a smooth stand-in (adaptive)",
        )
    ]


def _pgd_gap(accuracy: Mapping[str, float], slack: float) -> list[Finding]:
    strongest = _strongest_pgd(accuracy)
    if strongest is None or strongest - accuracy.get("autoattack", 1.0) - slack <= PGD_SUSPECT:
        return []
    return [
        Finding(
            "pgd-far-above-autoattack",
            "suspect",
            "AutoAttack finds far more than PGD",
            f"pgd {_points(strongest)}, autoattack {_points(accuracy['autoattack'])}",
            "compare the loss along the attack's path; the cross-entropy gradient may be saturated",
        )
    ]
