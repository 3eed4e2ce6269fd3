"""The one evaluated model that is submitted: its row of the results, and all that speaks for and against it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from reports.rows import chosen, of_method
from reports.submission.boards import has_board
from reports.table.build import check
from results.errors import HarnessError
from results.labels import ball_of
from results.lookups import provenance
from results.names import AUTOATTACK, NATURAL, WORST_CASE
from results.queries import DIAGNOSED, long_form
from results.verdicts import Verdicts

if TYPE_CHECKING:
    from pandas import DataFrame

    from results.store import Store

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Measured:
    """A checkpoint of one training under one threat, judged on the first ``examples`` test examples.

    ``verdicts`` are those of ``natural``, ``autoattack`` (if all of it was run) and ``worst-case``, bool (N,).
    ``attacks`` are the rows of the long form, each with the ``provenance`` of its job, that the worst case is made of;
    ``findings`` what speaks against their numbers, None where nobody looked.
    """

    method: str
    dataset: str
    model: str
    threat: str
    seed: int
    checkpoint: str
    train_id: str
    params: str
    verdict: str
    findings: Sequence[Record] | None
    attacks: Sequence[Record] = field(repr=False)
    verdicts: Mapping[str, Verdicts] = field(repr=False)

    @property
    def norm(self) -> str:
        """``Linf`` or ``L2``."""
        return ball_of(self.threat)[0]

    @property
    def radius(self) -> str:
        """As people write it: ``8/255``."""
        return self.threat.partition(" ")[2]

    @property
    def examples(self) -> int:
        """N."""
        return len(self.verdicts[WORST_CASE])

    def percent(self, attack: str) -> str | None:
        """The accuracy with two decimals; None where all of AutoAttack was not run."""
        return f"{100 * self.verdicts[attack].mean():.2f}" if attack in self.verdicts else None


def measured(
    store: "Store",
    method: str,
    *,
    dataset: str,
    seed: int,
    checkpoint: str,
    model: str | None = None,
    threat: str | None = None,
) -> Measured:
    """What the store holds of the method, under the threat that there is a board for, unless another is named.

    ``method`` is named as the tables name it, ``trades (beta=3)``, where it was trained under several protocols.

    Raises:
        HarnessError: if there is none, or several; the message says how to choose.
    """
    frame = long_form(store, with_verdicts=True, with_findings=True)
    check(frame)
    wanted = {"dataset": dataset, "seed": seed, "checkpoint": checkpoint, "model": model, "threat": threat}
    rows = chosen(of_method(frame, method), method, wanted)
    on_board = rows["threat"].map(lambda each: has_board(dataset, each))
    rows = rows[on_board] if threat is None and on_board.any() else rows
    several = rows[["model", "threat", "protocol"]].drop_duplicates().itertuples(index=False, name=None)
    if len(found := sorted(f"{model}, {threat}, protocol {protocol}" for model, threat, protocol in several)) > 1:
        raise HarnessError(
            f"{method} stands for {len(found)} models: {'; '.join(found)}. "
            f"Choose with --model, with --threat or as {method}@PROTOCOL"
        )
    return _measured(store, rows)


def _measured(store: "Store", rows: "DataFrame") -> Measured:
    whole = rows[rows["attack"].isin(AUTOATTACK)]
    worst_cases = rows[rows["attack"] == WORST_CASE]
    if worst_cases.empty:
        raise HarnessError("this model was not attacked yet: harness run --attacks fgsm,pgd-20,cw,autoattack,adaptive")
    n = int((worst_cases if whole.empty else whole)["examples"].max())
    own = rows[(rows["examples"] >= n) & (rows["attack"] != WORST_CASE)].to_dict("records")
    verdicts = {WORST_CASE: worst_cases[worst_cases["examples"] == n]["verdicts"].iloc[0]}
    for name, attacks in ((NATURAL, (NATURAL,)), (AUTOATTACK[0], AUTOATTACK)):
        if left := [row["verdicts"][:n] for row in own if row["attack"] in attacks]:
            verdicts[name] = min(left, key=np.sum)
    first = own[0]
    jobs = provenance(store, [row["evaluate_id"] for row in own])
    same = ("dataset", "model", "threat", "checkpoint", "train_id", "params", "verdict")
    return Measured(
        method=str(first["method"]),
        seed=int(first["seed"]),
        **{name: str(first[name]) for name in same},
        findings=first[DIAGNOSED],
        attacks=[
            {**{str(key): value for key, value in row.items()}, "provenance": jobs[row["evaluate_id"]]} for row in own
        ],
        verdicts=verdicts,
    )
