"""Names that the store, the reports and the engine share, and the order in which attacks are shown."""

import re
from collections.abc import Iterable
from functools import cache

NATURAL, WORST_CASE = "natural", "worst-case"
CHECKPOINTS = ("best", "last")
# All of AutoAttack on every example: ours, and its authors' code.
AUTOATTACK = ("autoattack", "autoattack-reference")
FAST = "autoattack-fast"
# From weak to strong; ``pgd`` stands for all of its kind.
_ATTACKS = (NATURAL, "fgsm", "pgd", "cw", FAST, "autoattack", "adaptive")


def ordered_attacks(names: Iterable[str]) -> list[str]:
    """Each attack once: natural, the known ones from weak to strong, the others by name, worst-case."""
    return sorted(dict.fromkeys(names), key=attack_rank)


@cache
def attack_rank(name: str) -> tuple[int, tuple[tuple[int, str], ...]]:
    """What :func:`ordered_attacks` sorts by; ``pgd-20`` comes before ``pgd-100``."""
    family = re.split("[-:]", name)[0] if name.startswith("pgd") else name.partition(":")[0]
    place = _ATTACKS.index(family) if family in _ATTACKS else len(_ATTACKS) + (name == WORST_CASE)
    parts = re.split(r"(\d+)", name)
    return place, tuple((int(part), "") if part.isdigit() else (-1, part) for part in parts)
