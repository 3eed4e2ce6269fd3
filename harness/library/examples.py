"""Test examples that a model gets wrong under attack, with the images that broke them; read without torch."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.api.data import Data, datasets
from harness.api.errors import HarnessError
from harness.datasets import PREFIXES, load
from results.adversarial import Adversarial, read_adversarial
from results.layout import WorkspaceFiles
from results.names import NATURAL, WORST_CASE, attack_rank
from results.queries import long_form
from results.store import Store

MOST = 24


class Picture(NamedTuple):
    """One test example: both images float32 (C, H, W) in [0, 1], its class, and what broke it, the first one shown."""

    position: int
    label: str
    natural: NDArray[np.float32]
    adversarial: NDArray[np.float32]
    broken_by: Sequence[str]


class Broken(NamedTuple):
    """The first examples in the order of the test set that some attack broke."""

    method: str
    dataset: str
    pictures: Sequence[Picture]


def broken(
    store: Store, workspace: WorkspaceFiles, data_root: Path, train_id: str, checkpoint: str, threat: str
) -> Broken:
    """At most ``MOST`` examples of one checkpoint under one threat; the image is the weakest attack's that broke it.

    Raises:
        HarnessError: if there are no such results, their images were not kept, or the data set cannot be had here.
    """
    frame = long_form(store, train_id=train_id, checkpoint=checkpoint, threat=threat)
    rows = [row for row in frame.to_dict("records") if row["attack"] not in (NATURAL, WORST_CASE)]
    if not rows:
        raise HarnessError(f"no attack on {train_id}, {checkpoint} checkpoint, {threat}, is in the results")
    images: dict[int, NDArray[np.float32]] = {}
    by: dict[int, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: attack_rank(row["attack"])):
        kept, parts = _kept(workspace, row["evaluate_id"])
        for position, image in zip(kept.positions.tolist(), kept.images, strict=True):
            images.setdefault(position, image)
            by[position].append(f"{row['attack']}: {parts[position]}" if position in parts else row["attack"])
    data = _attacked(rows[0], data_root)
    test = data.test
    pictures = [
        Picture(place, data.classes[test.labels[place]], test.images[place] / np.float32(255), images[place], by[place])
        for place in sorted(images)[:MOST]
    ]
    return Broken(rows[0]["method"], rows[0]["dataset"], pictures)


def _kept(workspace: WorkspaceFiles, evaluate_id: str) -> tuple[Adversarial, dict[int, str]]:
    """The images of an evaluation, and which part of the attack broke each example, where it has parts."""
    files = workspace.job(evaluate_id)
    kept = read_adversarial(files.adversarial)
    details = json.loads(files.result.read_text(encoding="utf-8")).get("details", {})
    return kept, {place: part for part, places in details.get("broken_by", {}).items() for place in places}


def _attacked(row: dict[Any, Any], data_root: Path) -> Data:
    """The data set that was attacked."""
    name, wanted = row["dataset"], json.loads(row["params"])["dataset.fingerprint"]
    data = _load(name, data_root)
    if data.fingerprint != wanted:
        raise HarnessError(
            f"the images of {name} are others than those that were attacked ({data.fingerprint}, {wanted})"
        )
    return data


def _load(name: str, data_root: Path) -> Data:
    if name not in datasets and not name.startswith(PREFIXES):
        from harness.plugins import load_plugins  # takes torch: for data sets that do not ship with the harness alone

        load_plugins()
    return load(name, data_root)
