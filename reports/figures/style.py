"""What all figures share: one style, a width, how names are written in them, and their files."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from math import ceil
from textwrap import wrap
from typing import Any

import matplotlib.style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.6,
    "image.cmap": "cividis",
    "image.interpolation": "nearest",
    "figure.constrained_layout.use": True,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
}
WIDTH = 4.4  # inches: letters of 8 pt are of 6 pt in a column of 3.3 inches, and of 12 pt over the width of a page
CHARACTERS = 62  # of 8 pt that fit into the width beside an axis
GREY, DARK = "#999999", "#222222"
MASKED_HATCH = "/////"
# So that no colour stands for two methods: the eighth method on has another shape.
MARKERS = "osD^vPX<>ph*d"
DOT: dict[str, Any] = {
    "markersize": 4.5,
    "markeredgecolor": "black",
    "markeredgewidth": 0.7,
    "clip_on": False,
    "zorder": 4,
}
_OUTSIDE: dict[str, Any] = {"upper": "outside upper center", "lower": "outside lower center"}
_LINES = 3  # of a name at most
# No dates or versions: equal results give equal files.
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": {"CreationDate": None}}


@contextmanager
def style() -> Iterator[None]:
    """Draw and save figures in this house's style, whatever the user's matplotlibrc says."""
    with matplotlib.style.context(["default", _STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name may have any letters
        yield


def pictures(figure: Figure) -> dict[str, bytes]:
    """The figure as a file, by file name ending. It is laid out once, for all of them."""
    found = {}
    for ending, metadata in _METADATA.items():
        content = BytesIO()
        with style():
            figure.savefig(content, format=ending, metadata=metadata)
        figure.set_layout_engine("none")
        found[ending] = content.getvalue()
    return found


def written(label: str, width: int = CHARACTERS // 3) -> str:
    """A method's label in lines of that many characters, what it is trained with below the method."""
    method, bracket, settings = label.partition(" (")
    lines = [line for part in (method, bracket.strip() + settings) for line in wrap(part, width)]
    text = "\n".join(lines if len(lines) <= _LINES else [*lines[: _LINES - 1], f"{lines[_LINES - 1][: width - 1]}…"])
    return f" {text}" if text.startswith("_") else text  # matplotlib leaves a leading underscore out of legends


def rows_figure(labels: Sequence[str], *, above: float = 1.0, each: float = 0.17) -> tuple[Figure, Axes]:
    """A figure with one row for each label, from top to bottom at 0, 1, ...; ``above`` inches for what is around."""
    shown = [written(label) for label in labels]
    lines = max(text.count("\n") + 1 for text in shown)
    figure = Figure(figsize=(WIDTH, above + len(shown) * max(each, 0.05 + 0.12 * lines)))
    axes = figure.subplots()
    axes.set_yticks(range(len(shown)), shown)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    return figure, axes


def panels(
    titles: Sequence[str], *, height: float = 1.35, above: float = 1.1, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """A grid of panels with these titles, three or four in a row, which share their axes."""
    columns = min(len(titles), 4 if len(titles) > 6 else 3)
    rows = ceil(len(titles) / columns)
    shown = [written(title, CHARACTERS // columns - 2) for title in titles]
    lines = max(text.count("\n") for text in shown)
    figure = Figure(figsize=(WIDTH, above + (height + 0.12 * lines) * rows))
    grid = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).flatten()
    for place, (axes, title) in enumerate(zip(grid, shown, strict=False)):
        axes.set_title(title, fontsize=7.5)
        axes.tick_params(labelbottom=place + columns >= len(titles), labelsize=7)
    for axes in grid[len(titles) :]:
        axes.remove()
    return figure, list(grid[: len(titles)])


def legend(figure: Figure, handles: Sequence[Artist], place: str = "upper", title: str = "") -> None:
    """A legend outside the axes, in as many columns as its longest label lets fit, four at most."""
    figure.legend(
        handles=handles,
        loc=_OUTSIDE[place],
        ncols=_legend_columns(handles),
        frameon=False,
        handlelength=1.6,
        title=title or None,
        title_fontsize=8,
    )


def legend_height(handles: Sequence[Artist]) -> float:
    """How many inches :func:`legend` takes, about."""
    lines = max(str(each.get_label()).count("\n") + 1 for each in handles)
    return ceil(len(handles) / _legend_columns(handles)) * (0.05 + 0.13 * lines)


def _legend_columns(handles: Sequence[Artist]) -> int:
    longest = max(max(map(len, str(each.get_label()).split("\n"))) for each in handles)
    return max(1, min(4, len(handles), CHARACTERS // (longest + 5)))


def dots(palette: dict[str, str], **options: Any) -> list[Line2D]:
    """A dot for each label in its colour, for a legend and to be drawn alike."""
    return [
        Line2D([], [], linestyle="", marker=marker_of(place), color=colour, label=written(label), **DOT, **options)
        for place, (label, colour) in enumerate(palette.items())
    ]


def marker_of(place: int) -> str:
    """The shape of the method at this place of a figure."""
    return MARKERS[place // 7 % len(MARKERS)]


def swatch(colour: str, label: str, hatch: str | None = None) -> Patch:
    """A patch of a legend."""
    return Patch(facecolor=colour, edgecolor="black" if hatch else None, hatch=hatch, label=label)
