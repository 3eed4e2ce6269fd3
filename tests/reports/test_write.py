"""The files that a run leaves behind."""

import shutil

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reports_example import epochs, results

from reports.figures import Source, draw
from reports.figures.curves import security_curve
from reports.forms import FILES, to_markdown
from reports.table import comparison, comparisons, full
from reports.write import write
from results.errors import HarnessError

TABLES = {f"table_digits_small-cnn_Linf-0.2_{name}.{end}" for name in ("best", "last") for end in FILES}
ACCURACY, CURVES = "accuracy_digits_small-cnn_Linf-0.2_best", "curves_digits_small-cnn_Linf-0.2"
DRAWN = ("accuracy", "curves", "security")
SECURITY = "security_digits_small-cnn_Linf"
PICTURES = {f"{name}.{end}" for name in (ACCURACY, CURVES) for end in ("png", "pdf")}


def report(frame, history, out):
    """What ``harness report`` writes of these results."""
    tables = comparisons(frame)
    return write([full(table) for table in tables], draw(Source(frame, history, tables), DRAWN).files, out)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The paths of one ordinary report."""
    return report(results(), epochs(), tmp_path_factory.mktemp("run") / "reports")


def test_every_table_and_figure_is_written_and_nothing_else(written):
    assert {path.name for path in written} == TABLES | PICTURES
    assert {path.name for path in written[0].parent.iterdir()} == TABLES | PICTURES


def test_tables_hold_what_the_renderers_say(written):
    for table in comparisons(results()):
        stem = f"table_digits_small-cnn_Linf-0.2_{table.checkpoint}"
        for end, form in FILES.items():
            assert (written[0].parent / f"{stem}.{end}").read_text(encoding="utf-8") == form(full(table))


@pytest.mark.parametrize("name", [ACCURACY, CURVES])
def test_pictures_open_and_show_something(written, name):
    """Wide enough for print (1,320 pixels for 4.4 inches), mostly white, with many colours."""
    with Image.open(written[0].parent / f"{name}.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
        assert image.width == 1320
    assert 0.4 < (pixels == 255).all(axis=1).mean() < 0.98
    assert len(np.unique(pixels, axis=0)) > 100


def test_equal_results_give_equal_bytes_whatever_a_users_matplotlibrc_says(written, tmp_path):
    with matplotlib.rc_context({"font.size": 20, "figure.facecolor": "red", "savefig.dpi": 30}):
        again = report(results(), epochs(), tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]
    assert all(path.read_bytes().startswith(b"%PDF") for path in again if path.suffix == ".pdf")


def test_curves_are_of_the_reported_trainings_and_left_out_where_nothing_was_recorded(tmp_path):
    """The store may hold older trainings; a method that is not in the tables does not change the figure."""
    frame = results(["trades"])
    report(frame, epochs(["trades"]), tmp_path / "one")
    report(frame, pd.concat([epochs(["trades"]), epochs(["mart"])]), tmp_path / "two")
    assert (tmp_path / f"one/{CURVES}.png").read_bytes() == (tmp_path / f"two/{CURVES}.png").read_bytes()
    names = {path.name for path in report(frame, epochs(["mart"]), tmp_path / "three")}
    assert names == (TABLES | PICTURES) - {f"{CURVES}.png", f"{CURVES}.pdf"}


def test_another_setting_has_figures_of_its_own(tmp_path):
    """A report of other data overwrites nothing; without a best checkpoint the bars are of the one there is."""
    report(results(["trades"]), epochs(["trades"]), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    other = results(["mart"], dataset="mnist").query("checkpoint == 'last'")
    history = pd.concat([epochs(["trades"]), epochs(["mart"], dataset="mnist")])
    report(pd.concat([results(["trades"]), other]), history, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    added = {path.name for path in tmp_path.glob("*.png")} - before.keys()
    assert added == {"accuracy_mnist_small-cnn_Linf-0.2_last.png", "curves_mnist_small-cnn_Linf-0.2.png"}


def test_trainings_that_were_attacked_at_several_radii_have_a_security_curve(tmp_path):
    """And no others: what was trained at each radius anew is not one model's curve."""
    elsewhere = [results(["trades"]).assign(threat=threat) for threat in ("Linf 0.1", "L2 1", "Linf 0.2")]
    anew = [
        results(["mart"]).assign(threat=f"Linf {radius}", train_id=f"{radius}", protocol=f"{radius}")
        for radius in (0.1, 0.2)
    ]
    frame = pd.concat([*elsewhere, *anew])
    names = {path.name for path in report(frame, epochs(["mart"]), tmp_path)}
    assert {name for name in names if name.startswith("security")} == {f"{SECURITY}.png", f"{SECURITY}.pdf"}
    source = Source(frame, epochs(["mart"]))
    curve, *others = (security_curve(table, source) for table in comparisons(frame) if table.checkpoint == "best")
    assert {line.get_label() for line in curve.axes[0].lines} == {"trades"}
    assert list(curve.axes[0].lines[0].get_xdata()) == [0, 0.1, 0.2]
    assert [figure is None for figure in others] == [True, False]


def test_data_sets_whose_names_differ_in_punctuation_alone_keep_their_own_files(tmp_path):
    frames = [
        results(["trades"], dataset=name, draw=draw)
        for draw, name in enumerate(("imagefolder:/a/b", "imagefolder:/a-b"))
    ]
    names = {path.name for path in report(pd.concat(frames), epochs(["trades"]), tmp_path) if path.suffix == ".md"}
    stem = "table_imagefolder-a-b_small-cnn_Linf-0.2"
    assert names == {f"{stem}_{end}.md" for end in ("best", "best-2", "last", "last-2")}
    assert (tmp_path / f"{stem}_best-2.md").read_text(encoding="utf-8") == to_markdown(full(comparison(frames[1])))


def test_without_results_nothing_is_written(tmp_path):
    with pytest.raises(HarnessError, match="no results to report yet: run `harness run"):
        report(results().iloc[:0], epochs(), tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_a_failure_in_between_leaves_the_old_files_whole(written, tmp_path):
    """Nothing is written before everything is drawn."""
    shutil.copytree(written[0].parent, tmp_path, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = epochs().drop(columns="validation_natural")
    with pytest.raises(KeyError, match="validation_natural"):
        report(results(draw=1), broken, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
