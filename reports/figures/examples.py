"""Adversarial examples as images."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import rows_figure, style
from reports.table import Comparison, Row
from results.adversarial import read_adversarial
from results.errors import HarnessError
from results.features import read_images
from results.layout import JobFiles
from results.names import ordered_attacks

_MOST, _EACH = 7, 3
Image = NDArray[np.float32]


class _Broken(NamedTuple):
    natural: Image  # (C, H, W)
    adversarial: Image


def adversarial_examples(whole: Comparison, source: Source) -> Figure | None:
    """For each method the first test images that the strongest attack broke: natural, adversarial, their difference.

    The difference is drawn around grey and magnified until the largest in the figure is black or white; the title
    says how many times.
    """
    table = best_of(whole, _MOST)
    found = {row.method: broken for row in table.rows if (broken := list(_broken(row, table, source))[:_EACH])}
    if not found:
        return None
    largest = max(float(np.abs(each.adversarial - each.natural).max()) for own in found.values() for each in own)
    rows = [_strip(own, largest) for own in found.values()]
    height, width = rows[0].shape[:2]
    with style():
        figure, axes = rows_figure([*found], above=0.7, each=3.3 * height / width)
        axes.imshow(
            np.concatenate(rows),
            extent=(0, 3 * _EACH, len(rows) - 0.5, -0.5),
            aspect="auto",
            cmap="gray",
            vmin=0,
            vmax=1,
        )
        names = ("natural", "attacked", f"× {0.5 / largest:.3g}")
        axes.set_xticks([place + 0.5 for place in range(3 * _EACH)], names * _EACH, fontsize=6.5)
        axes.tick_params(axis="x", length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.set_title(title_of(table, whole))
    return figure


def _broken(row: Row, table: Comparison, source: Source) -> Iterator[_Broken]:
    """Those of the kept natural images that the strongest attack which kept its own broke, in their order."""
    features = source.features_of(table).get(row.method)
    if not features or not source.jobs:
        return
    try:
        natural = read_images(JobFiles(source.jobs / features.job_id).images)
    except HarnessError:
        return
    where = (
        source.frame[["train_id", "checkpoint", "threat"]] == [features.train_id, table.checkpoint, table.threat]
    ).all(axis=1)
    ids: dict[str, str] = dict(
        source.frame.loc[where & source.frame["evaluate_id"].notna(), ["attack", "evaluate_id"]].itertuples(index=False)
    )
    for attack in reversed(ordered_attacks(ids)):
        try:
            kept = read_adversarial(JobFiles(source.jobs / ids[attack]).adversarial)
        except HarnessError:
            continue  # of an earlier version
        for position, image in zip(kept.positions, kept.images, strict=True):
            if position < len(natural):
                yield _Broken(natural[position].astype(np.float32) / 255, image)
        return


def _strip(broken: list[_Broken], largest: float) -> Image:
    """The images of one method side by side (H, 3 * W * examples, 3), with a white frame; missing ones are white."""
    tiles = []
    for each in broken:
        difference = 0.5 + (each.adversarial - each.natural) / (2 * largest)
        tiles += [
            np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=1.0)
            for image in (each.natural, each.adversarial, difference)
        ]
    tiles += [np.ones_like(tiles[0])] * (3 * _EACH - len(tiles))
    strip = np.concatenate(tiles, axis=2).transpose(1, 2, 0).clip(0, 1)
    return np.broadcast_to(strip, (*strip.shape[:2], 3)) if strip.shape[2] == 1 else strip
