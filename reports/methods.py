"""The methods as every table and figure shows them: their order, their labels, and a colour for each."""

import json
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from zlib import crc32

from results.labels import method_labels, method_of

if TYPE_CHECKING:
    from pandas import DataFrame

SETTING = ("dataset", "model", "threat")
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
_OTHERS = ("#000000", "#ee3377", "#66aa00", "#6644ff", "#00ccbb", "#885533", "#ff5500", "#bbaa00")
_LIGHTEST = 0.5  # share of white


def ordered_methods(names: Iterable[str]) -> list[str]:
    """Each method once: the bases, ANCRA over them, its ablations base by base, then the others as they came."""
    place = {name: number for number, name in enumerate(BUILT_IN)}
    return sorted(dict.fromkeys(names), key=lambda name: place.get(name, len(place)))


def display_names(names: Iterable[str]) -> dict[str, str]:
    """The methods as papers write them: ``PGD-AT-ANCRA``; the name itself where a method is not built in."""
    return {name: "Natural" if name == "natural" else name.upper() if name in BUILT_IN else name for name in names}


def labels(trainings: Iterable[Mapping[Any, Any]]) -> dict[tuple[str, str], str]:
    """The label of each method and protocol among the rows of one setting, in the order of :func:`ordered_methods`."""
    found = {(row["method"], row["protocol"]): row["params"] for row in trainings}
    shown = method_labels((*place, json.loads(params)) for place, params in found.items())
    names = ordered_methods(method for method, _ in shown)
    return dict(sorted(shown.items(), key=lambda item: names.index(item[0][0])))


def labelled(rows: "DataFrame") -> "DataFrame":
    """The rows of the long form with a column ``label``: what the tables of their setting call their method."""
    shown: dict[tuple[Hashable, ...], str] = {}
    for setting, own in rows.groupby(list(SETTING), sort=False):
        shown |= {(*setting, *place): label for place, label in labels(own.to_dict("records")).items()}
    keys = rows[[*SETTING, "method", "protocol"]].itertuples(index=False, name=None)
    return rows.assign(label=[shown[key] for key in keys])


def colours(shown: Iterable[str]) -> dict[str, str]:
    """A colour for each label; the protocols of one method are shades of its colour, from dark to light.

    A plugin's method has one that its name decides, unless another in the figure has it already.
    """
    families: dict[str, list[str]] = defaultdict(list)
    for label in dict.fromkeys(shown):
        families[method_of(label)].append(label)
    hues: dict[str, str] = {}
    for method in ordered_methods(families):
        hues[method] = BUILT_IN.get(method) or _other(method, hues.values())
    return {
        label: _lighter(hues[method], _LIGHTEST * place / max(len(members) - 1, 1))
        for method, members in families.items()
        for place, label in enumerate(members)
    }


def _other(method: str, taken: Collection[str]) -> str:
    start = crc32(method.encode()) % len(_OTHERS)
    turns = (*_OTHERS[start:], *_OTHERS[:start])
    return next((colour for colour in turns if colour not in taken), turns[0])


def _lighter(colour: str, share: float) -> str:
    """The colour ``#rrggbb`` with this share of white."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#" + "".join(f"{round(part + (255 - part) * share):02x}" for part in parts)
