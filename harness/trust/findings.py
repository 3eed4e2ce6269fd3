"""Is this evaluation to be believed? The checks' numbers against their limits; no torch here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from harness.api.errors import UnknownName
from harness.trust.checks import CHECKS, POINTS, Check
from harness.trust.evidence import Evidence

# The word for a whole evaluation; ``verdicts`` are the single examples'.
Verdict = Literal["trusted", "suspect", "masked"]
_WORST_FIRST: tuple[Literal["masked", "suspect"], ...] = ("masked", "suspect")
_NO_LIMITS: Mapping[str, float] = {}


@dataclass(frozen=True)
class Finding:
    """One reason to doubt a number: what was seen (``evidence``), and what to do about it (``advice``)."""

    code: str
    severity: Verdict
    message: str
    evidence: str
    advice: str


def diagnose(evidence: Evidence, limits: Mapping[str, float] = _NO_LIMITS) -> list[Finding]:
    """What speaks against the numbers: one finding at most for each check, in the order of the table.

    A share of N examples must exceed its limit by 2/N more: so much is chance. ``limits`` replace the table's, under
    the keys ``CODE.suspect`` and ``CODE.masked``, in the check's unit.

    Raises:
        UnknownName: for a limit of no check.
    """
    check_limits(limits)
    return [finding for check in CHECKS.values() if (finding := _judge(check, evidence, limits))]


def _judge(check: Check, evidence: Evidence, limits: Mapping[str, float]) -> Finding | None:
    """The number against the limits, the worse one first."""
    measured = check.measure(evidence)
    if measured is None:
        return None
    chance = measured.chance if check.unit == POINTS else 0.0
    for severity in _WORST_FIRST:
        limit = limits.get(f"{check.code}.{severity}", getattr(check, severity))
        if limit is not None and measured.value - chance > limit:
            message = check.message.format(value=measured.value)
            return Finding(check.code, severity, message, measured.text, check.advice)
    return None


def check_limits(limits: Iterable[str]) -> None:
    """Every name of a limit must be one.

    Raises:
        UnknownName: with the nearest name.
    """
    for key in limits:
        if key not in limit_names():
            raise UnknownName("limit", key, limit_names())


def limit_names() -> list[str]:
    """Every limit by the name under which it can be set."""
    return [f"{code}.{severity}" for code in CHECKS for severity in _WORST_FIRST]


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The worst severity among the findings; ``trusted`` when there is none."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in _WORST_FIRST if severity in severities), "trusted")
