"""The list of figures: a new one is one row here, and the function that draws it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.figures.accuracy import accuracy_bars
from reports.figures.attacks import overestimation, waterfall
from reports.figures.classes import accuracy_by_class
from reports.figures.curves import security_curve, steps_curve
from reports.figures.examples import adversarial_examples
from reports.figures.features import feature_distances, feature_map
from reports.figures.scatter import cost_and_robustness, natural_and_robust
from reports.figures.source import Source
from reports.figures.style import pictures
from reports.figures.training import training_curves
from reports.table import Comparison
from reports.write import add
from results.errors import UnknownName
from results.labels import ball_of, file_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Kind:
    """One figure of a setting: ``draw`` returns None where the results lack what it ``needs``.

    ``slug`` says of which tables it is the same figure: it is drawn once, for the first of them.
    """

    name: str
    needs: str
    slug: Callable[[Comparison], str]
    draw: Callable[[Comparison, Source], "Figure | None"]


def _of_setting(table: Comparison) -> str:
    return file_label(table.dataset, table.model, table.threat)


def _of_norm(table: Comparison) -> str:
    return file_label(table.dataset, table.model, ball_of(table.threat)[0])


def _of_checkpoint(table: Comparison) -> str:
    return table.slug


FIGURES = (
    Kind("accuracy", "an evaluation", _of_checkpoint, accuracy_bars),
    Kind("curves", "a training with validation accuracies", _of_setting, training_curves),
    Kind("security", "several radii: harness run --eval-eps 0.1,0.2", _of_norm, security_curve),
    Kind("steps", "PGD of three lengths: harness run --attacks pgd-10,pgd-50,pgd-200", _of_checkpoint, steps_curve),
    Kind("natural-robust", "natural and worst-case accuracy", _of_checkpoint, natural_and_robust),
    Kind("waterfall", "an attack", _of_checkpoint, waterfall),
    Kind("overestimation", "autoattack and adaptive", _of_checkpoint, overestimation),
    Kind("cost", "trainings or attacks whose cost was measured", _of_checkpoint, cost_and_robustness),
    Kind("classes", "labels: harness run --features", _of_checkpoint, accuracy_by_class),
    Kind("examples", "test images: harness run --features", _of_checkpoint, adversarial_examples),
    Kind("features", "features: harness run --features", _of_checkpoint, feature_distances),
    Kind("map", "features: harness run --features", _of_checkpoint, feature_map),
)


@dataclass(frozen=True)
class Drawn:
    """Files by name; what those figures need that could not be drawn; the settings that were left out, being many."""

    files: Mapping[str, bytes]
    lacking: Mapping[str, str]
    left_out: Sequence[str] = ()


def draw(source: Source, names: Sequence[str] = ()) -> Drawn:
    """The figures of these names as ``NAME_SETTING.png`` and ``.pdf``, of the best checkpoint or the one there is.

    Without names, all of them, of one setting (:func:`of_most_interest`): a dozen figures take some seconds.

    Raises:
        UnknownName: if there is no such figure.
    """
    for name in names:
        if name not in [kind.name for kind in FIGURES]:
            raise UnknownName("figure", name, [kind.name for kind in FIGURES])
    tables, chosen = _one_each(source.tables), drawn(source.tables, names)
    files: dict[str, bytes] = {}
    lacking: dict[str, str] = {}
    for kind in (each for each in FIGURES if each.name in (names or each.name)):
        first = {(table.dataset, table.model, kind.slug(table)): table for table in reversed(chosen)}
        figures = [(kind.slug(table), kind.draw(table, source)) for table in reversed(first.values())]
        if not any(figure for _, figure in figures):
            lacking[kind.name] = kind.needs
        for slug, figure in figures:
            if figure:
                add(files, f"{kind.name}_{slug}", pictures(figure))
    return Drawn(files, lacking, [table.setting for table in tables if table not in chosen])


def drawn(tables: Sequence[Comparison], names: Sequence[str] = ()) -> list[Comparison]:
    """Of these tables those that :func:`draw` makes figures of."""
    each = _one_each(tables)
    return each if names else [of_most_interest(each)]


def of_most_interest(tables: Sequence[Comparison]) -> Comparison:
    """Of the tables whose methods were trained for their threat, the largest; the first of those."""
    return min(tables, key=lambda each: (bool(each.trained), -len(each.rows)))


def _one_each(tables: Sequence[Comparison]) -> list[Comparison]:
    """Of each setting the first table, which is that of the best checkpoint if there is one."""
    first = {table.setting: table for table in reversed(tables)}
    return [*reversed(first.values())]
