"""What the final classifier sees: how far features move under attack, and a map of them."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.figures.source import Source, best_of, title_of
from reports.figures.style import WIDTH, legend, panels, style, written
from reports.methods import colours
from reports.table import Comparison

_MOST, _MOST_PANELS = 7, 9
_BINS = 20
_KINDS = {"tsne": "t-SNE", "umap": "UMAP"}
_NAMED_CLASSES = 10
_HISTOGRAMS = (
    ("own_distance", "own_cosine", "an image and itself attacked"),
    ("other_distance", "other_cosine", "an image and one of another class,\nattacked towards its label"),
)


def feature_distances(whole: Comparison, source: Source) -> Figure | None:
    """Histograms of L2 distance and cosine between features, as densities in 20 bins.

    Above, of each test image and the same attacked; below, of each test image and one of another class that was
    attacked towards the label of the first: a robust network keeps the first pair together and the second apart.
    """
    table = best_of(whole, _MOST)
    found = source.features_of(table)
    if not found:
        return None
    palette = colours(found)
    with style():
        figure = Figure(figsize=(WIDTH, 4.0))
        grid = figure.subplots(2, 2, sharex="col")
        for axes, names in zip(grid.T, zip(*(row[:2] for row in _HISTOGRAMS), strict=True), strict=True):
            values = {name: {method: getattr(own, name) for method, own in found.items()} for name in names}
            every = np.concatenate([each for own in values.values() for each in own.values()])
            edges = np.histogram_bin_edges(every, _BINS)
            for panel, own in zip(axes, values.values(), strict=True):
                for method, each in own.items():
                    heights, _ = np.histogram(each, edges, density=True)
                    panel.stairs(heights, edges, color=palette[method], linewidth=1.2)
        for row, (_, _, title) in zip(grid, _HISTOGRAMS, strict=True):
            row[0].set_title(title, loc="left", fontsize=7.5)
            row[0].set_ylabel("density")
        grid[1, 0].set_xlabel("L2 distance of features")
        grid[1, 1].set_xlabel("cosine of features")
        lines = [Line2D([], [], color=colour, linewidth=1.2, label=written(name)) for name, colour in palette.items()]
        legend(figure, lines, title=title_of(table, whole))
    return figure


def feature_map(whole: Comparison, source: Source) -> Figure | None:
    """The natural features of the test images in two dimensions; one panel for each method, coloured by class."""
    table = best_of(whole, _MOST_PANELS)
    found = source.features_of(table)
    if not found:
        return None
    classes = int(max(each.labels.max() for each in found.values())) + 1
    palette = colormaps["tab10"] if classes <= _NAMED_CLASSES else colormaps["hsv"].resampled(classes)
    with style():
        figure, grid = panels([*found], height=1.3, share=False)
        for axes, own in zip(grid, found.values(), strict=True):
            axes.scatter(
                own.embedding[:, 0], own.embedding[:, 1], s=3, c=palette(own.labels), linewidth=0, rasterized=True
            )
            axes.set(xticks=[], yticks=[])
            axes.grid(visible=False)
        kinds = ", ".join(sorted({_KINDS.get(each.kind, each.kind) for each in found.values()}))
        dots = [
            Line2D([], [], linestyle="", marker="o", markersize=4, color=palette(label), label=str(label))
            for label in range(classes if classes <= _NAMED_CLASSES else 0)
        ]
        title = f"{title_of(table, whole)}\n{kinds} of natural features, by class"
        if dots:
            figure.legend(
                handles=dots,
                loc="outside upper center",
                ncols=10,
                frameon=False,
                title=title,
                title_fontsize=8,
                columnspacing=0.6,
                handletextpad=0,
            )
        else:
            figure.suptitle(f"{title} ({classes})", fontsize=8)
    return figure
