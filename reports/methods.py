"""The methods as every table and figure shows them: their order, and a colour for each."""

from collections.abc import Iterable

# In the order in which the built-in ones are registered (a test compares). Okabe & Ito 2008
# (https://jfly.uni-koeln.de/color/) and Tol 2021 (https://personal.sron.nl/~pault/): light for a base method, dark for
# ANCRA over it, so that the pairs differ in grey too.
BUILT_IN = {
    "natural": "#767676",
    "pgd-at": "#56b4e9",
    "trades": "#e69f00",
    "mart": "#cc79a7",
    "pgd-at-ancra": "#0072b2",
    "trades-ancra": "#b34700",
    "mart-ancra": "#882255",
    "pgd-at-anc": "#009e73",
    "pgd-at-ra": "#117733",
    "trades-anc": "#999933",
    "trades-ra": "#665500",
    "mart-anc": "#44aa99",
    "mart-ra": "#332288",
}
_OTHERS = ("#000000", "#ee3377", "#33bbee", "#ddaa33", "#aa3377", "#228833")


def ordered_methods(names: Iterable[str]) -> list[str]:
    """Each method once: the bases, ANCRA over them, its ablations base by base, then the others as they came."""
    place = {name: number for number, name in enumerate(BUILT_IN)}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, len(place)))


def colours(methods: Iterable[str]) -> dict[str, str]:
    """A colour for each method; those without one of their own take turns in the order of the tables."""
    names = ordered_methods(methods)
    others = [name for name in names if name not in BUILT_IN]
    turns = {name: _OTHERS[index % len(_OTHERS)] for index, name in enumerate(others)}
    return {name: BUILT_IN.get(name) or turns[name] for name in names}
