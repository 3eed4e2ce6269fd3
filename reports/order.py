"""The order in which every table and figure shows methods and attacks."""

from collections.abc import Iterable

_BASES = ("natural", "pgd-at", "trades", "mart")
_VARIANTS = ("", "-ancra", "-anc", "-ra")
_ATTACKS = ("natural", "fgsm", "pgd", "cw", "autoattack", "adaptive", "worst-case")


def ordered_methods(names: Iterable[str]) -> list[str]:
    """Each method once: the bases, ANCRA over them, its ablations base by base, then the others as they came."""
    return sorted(dict.fromkeys(names), key=_method_rank)


def ordered_attacks(names: Iterable[str]) -> list[str]:
    """Each attack once: natural, the known ones from weak to strong, worst-case, then the others as they came."""
    return sorted(dict.fromkeys(names), key=_attack_rank)


def _method_rank(name: str) -> tuple[int, int, int]:
    for variant, suffix in reversed(list(enumerate(_VARIANTS))):
        base = name.removesuffix(suffix)
        if base in _BASES and base + suffix == name:
            return min(variant, 2), _BASES.index(base), variant
    return len(_VARIANTS), 0, 0


def _attack_rank(name: str) -> tuple[int, int]:
    base = name.partition(":")[0]
    family, _, steps = base.partition("-")
    if family == "pgd" and steps.isdigit():
        return _ATTACKS.index("pgd"), int(steps)
    return (_ATTACKS.index(base), 0) if base in _ATTACKS else (len(_ATTACKS), 0)
