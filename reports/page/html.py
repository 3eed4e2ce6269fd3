"""The leaderboard as one HTML file: text, style, script and data in it, nothing loaded from elsewhere."""

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from reports.page.compact import compact, script_json
from reports.page.entries import Entry
from results.names import AUTOATTACK, FAST, NATURAL, WORST_CASE

TITLE = "Robustness leaderboard"


@dataclass(frozen=True)
class Column:
    """One column: its heading and what it means; in one of scores the first of ``attacks`` that there is.

    ``narrow``: shown on a phone too.
    """

    key: str
    heading: str
    meaning: str
    attacks: tuple[str, ...] = ()
    number: bool = True
    narrow: bool = False


COLUMNS = (
    Column("method", "Method", "with the settings that tell several trainings of it apart", number=False, narrow=True),
    Column(
        WORST_CASE,
        "Worst case",
        "accuracy in % on the examples that stand under every attack that was run: the number to quote. The line under "
        "it is solid to the worst case and pale to AutoAttack",
        (WORST_CASE,),
        narrow=True,
    ),
    Column(
        "autoattack",
        "AutoAttack",
        "accuracy in % under AutoAttack, where all of it was run; else under its fast version, which says so",
        (*AUTOATTACK, FAST),
        narrow=True,
    ),
    Column("gap", "AA − worst", "points by which AutoAttack overestimates"),
    Column("adaptive", "Adaptive", "accuracy in % under the attack that knows the model", ("adaptive",)),
    Column(NATURAL, "Natural", "accuracy in % without an attack", (NATURAL,)),
    Column(
        "verdict",
        "Verdict",
        "trusted: nothing speaks against the numbers; suspect: something does, or a strong attack was not run; masked: "
        "gradients or standard attacks mislead, and numbers in italics are too high",
        number=False,
        narrow=True,
    ),
    Column(
        "rank",
        "Rank",
        "1 + the number of methods that are significantly better in the worst case, at 5 %, among the rows of the same "
        "data set, model, threat and checkpoint; equal ranks are ties",
    ),
    Column("dataset", "Data set", "whose test examples were attacked", number=False),
    Column("model", "Model", "the architecture", number=False),
    Column("threat", "Threat", "the ball that perturbations stay in, for images in [0, 1]", number=False),
    Column(
        "checkpoint",
        "Checkpoint",
        "best: chosen on training data that was held out; last: after the last epoch",
        number=False,
    ),
    Column("seeds", "Seeds", "how many trainings; with several, accuracies are means ± sample standard deviations"),
)


def page(entries: Sequence[Entry], title: str = TITLE, notice: Sequence[str] = (), *, live: bool = False) -> str:
    """The whole file. ``notice`` are lines above the table; a ``live`` page asks its server for what is new."""
    return render(
        "page.html.j2",
        title=title,
        notice=notice,
        live=live,
        columns=COLUMNS,
        script=Markup(_text("page.js")),
        data=Markup(data(entries)),
    )


def render(template: str, **values: Any) -> str:
    """A template with the style of all pages, and with the policy that nothing but our own script and style runs."""
    style = Markup(_text("page.css"))
    return _template(template).render(style=style, policy=_policy(values.get("script", ""), style), **values)


def data(entries: Sequence[Entry]) -> str:
    """What the page's script reads, as JSON."""
    return script_json(compact(entries))


def _policy(script: str, style: str) -> str:
    allowed = [b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    return (
        f"default-src 'none'; script-src 'sha256-{allowed[0]}'; style-src 'sha256-{allowed[1]}'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


def _text(name: str) -> str:
    return (files("reports.page") / name).read_text(encoding="utf-8")


@cache
def _template(name: str) -> Template:
    environment = Environment(loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(name)
