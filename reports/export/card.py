"""The card of a published model: what it is, what was measured of it, and what that is worth, from the store alone."""

import json
from typing import TYPE_CHECKING, Any

from reports.rows import chosen, of_method
from reports.table.build import scores_of
from reports.templates import templates
from results.errors import HarnessError
from results.names import ordered_attacks

if TYPE_CHECKING:
    from pandas import DataFrame


def one_training(frame: "DataFrame", method: str, checkpoint: str, **choices: str | int | None) -> "DataFrame":
    """The rows of one training at one checkpoint, of the long form.

    ``method`` is named as in :func:`reports.versus.versus`; ``choices`` are a ``dataset``, ``model`` or ``seed``.

    Raises:
        HarnessError: if something is unknown, or several trainings are left; the message lists what there is.
    """
    rows = chosen(of_method(frame, method), method, {"checkpoint": checkpoint, **choices})
    if rows["train_id"].nunique() > 1:
        differing = {name: list(rows[name].unique()) for name in (*choices, "protocol") if rows[name].nunique() > 1}
        found = "; ".join(f"{name}: {', '.join(map(str, values))}" for name, values in differing.items())
        raise HarnessError(f"{method} is several trainings ({found}): choose one, a protocol with {method}@PROTOCOL")
    return rows


def card(rows: "DataFrame", paper: Any = None) -> str:
    """The README of the rows of :func:`one_training`; ``paper`` has ``title``, ``url`` and ``bibtex`` of the method.

    Its metadata has the measured accuracies, as fractions, in the Hub's format for evaluation results
    (https://huggingface.co/docs/hub/model-cards).
    """
    first = rows.iloc[0]
    environment = templates("reports.export")
    environment.filters |= {"percent": lambda accuracy: f"{100 * accuracy:.2f}"}
    blocks = [_block(str(threat), own) for threat, own in rows.groupby("threat", sort=False)]
    settings = {name: json.dumps(value) for name, value in json.loads(first["params"]).items()}
    return environment.get_template("card.md.j2").render(first=first, blocks=blocks, settings=settings, paper=paper)


def _block(threat: str, rows: "DataFrame") -> dict[str, Any]:
    """What was measured under one threat: a row for each attack, and the verdict."""
    (scores,) = scores_of(rows.to_dict("records")).values()
    measured = [scores[attack] for attack in ordered_attacks(scores)]
    return {"threat": threat, "rows": measured, "verdict": measured[0]["verdict"], "why": measured[0]["why"]}
