"""What trackers read in the files that were exported for them, with their own readers."""

import json
import struct
import sys

import pandas as pd
import pytest
from reports_example import epochs, results

from reports.export import mlflow, tensorboard, wandb
from reports.export.trainings import trainings
from results.errors import HarnessError

SERIES = {"lr", "loss", "validation_natural", "validation_robust", "images_per_second", "peak_memory", "terms/robust"}
STARTED = pd.Timestamp("2026-01-02T03:04:05Z").timestamp()


@pytest.fixture(scope="module")
def two():
    """Two trainings of four epochs, under three attacks."""
    methods = ("trades", "trades-ancra")
    params = '{"beta": 6.0, "protocol.schedule": "cosine", "protocol.milestones": [0.5]}'
    history = epochs(methods, number=4).assign(params=params)
    return trainings(results(methods, ("natural", "cw", "autoattack")), history)


def test_a_training_has_its_settings_its_epochs_and_its_last_numbers(two):
    """Against the frames: times add up the seconds of epochs; masked is said with its reason."""
    frame, history = results(["trades", "trades-ancra"], ("natural", "cw", "autoattack")), epochs(["trades"], number=4)
    first, second = two
    assert (first.id, first.name, first.group) == ("train-trades-digits-0", "trades, seed 0", "digits, small-cnn")
    assert first.params == {
        **{"method": "trades", "seed": 0, "beta": 6.0},
        **{"protocol.schedule": "cosine", "protocol.milestones": "[0.5]"},
    }
    assert [epoch.ended for epoch in first.epochs] == [STARTED + 36 * number for number in range(1, 5)]
    assert [epoch.values["loss"] for epoch in first.epochs] == history["loss"].tolist()
    assert set(first.epochs[0].values) == SERIES
    own = frame[frame["method"] == "trades"]
    expected = {f"{row.checkpoint}/Linf-0.2/{row.attack}": row.accuracy for row in own.itertuples()}
    assert first.metrics == {"best_epoch": 2, **expected}
    assert second.texts["best/Linf-0.2/verdict"] == "masked"
    assert second.texts["best/Linf-0.2/why"].startswith("AutoAttack overestimates")


def test_what_was_not_measured_is_left_out():
    history = epochs(["trades"], number=2).assign(peak_memory=None, seconds=float("nan"), started=None)
    (found,) = trainings(results(["mart"]), history)
    assert (found.started, [epoch.ended for epoch in found.epochs]) == (0.0, [0.0, 0.0])
    assert set(found.epochs[0].values) == SERIES - {"peak_memory"}
    assert found.metrics == {"best_epoch": 1}


def test_tensorboard_reads_what_was_measured(two, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert tensorboard.export(two, tmp_path) == 2
    folder = tmp_path / "digits-small-cnn" / "trades-seed-0_train-trades-digits-0"
    read = EventAccumulator(str(folder)).Reload()
    for name in SERIES:
        found = [(event.step, event.value, event.wall_time) for event in read.Scalars(name)]
        wanted = [(epoch.number, pytest.approx(epoch.values[name]), epoch.ended) for epoch in two[0].epochs]
        assert found == wanted
    for name, value in two[0].metrics.items():
        assert [(event.step, event.value) for event in read.Scalars(name)] == [(4, pytest.approx(value))]
    (text,) = read.Tensors("best/Linf-0.2/verdict")
    assert text.tensor_proto.string_val == [b"trusted"]
    assert "_hparams_/session_start_info" in read.Tags()["tensors"]


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_mlflow_reads_what_was_measured(two, tmp_path):
    pytest.importorskip("mlflow", reason="the extra mlflow is not installed")
    from mlflow import MlflowClient

    assert mlflow.export(two, tmp_path) == 2
    assert mlflow.export(two, tmp_path) == 0
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("digits, small-cnn").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment])}
    assert len(runs) == 2
    run = runs["trades, seed 0"]
    assert run.data.params == {name: str(value) for name, value in two[0].params.items()}
    assert run.data.metrics == {**two[0].epochs[-1].values, **two[0].metrics}
    assert (run.info.status, run.info.start_time) == ("FINISHED", 1000 * STARTED)
    assert runs["trades-ancra, seed 0"].data.tags["best/Linf-0.2/verdict"] == "masked"
    found = sorted(client.get_metric_history(run.info.run_id, "loss"), key=lambda metric: metric.step)
    assert [(each.step, each.value) for each in found] == [(e.number, e.values["loss"]) for e in two[0].epochs]
    changed = trainings(results(["trades"], ("natural", "cw"), draw=1), epochs(["trades"], number=4))
    assert mlflow.export(changed, tmp_path) == 1
    assert len(client.search_runs([experiment])) == 2


def wandb_records(path):
    """The records of an offline run: W&B's own messages, framed as LevelDB frames its log."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


@pytest.mark.filterwarnings("ignore")  # W&B's own
def test_wandb_reads_what_was_measured(two, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="the extra wandb is not installed")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "own"))
    assert wandb.export(two[:1], tmp_path) == 1
    assert wandb.export(two[:1], tmp_path) == 0
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(path))
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.run_id, run.display_name, run.project) == (two[0].id, two[0].name, "robustness-harness")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {name: config[name] for name in two[0].params} == dict(two[0].params)
    lines = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [{name: line[name] for name in SERIES} for line in lines] == [dict(e.values) for e in two[0].epochs]
    items = [item for record in records if record.HasField("summary") for item in record.summary.update]
    summary = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}
    assert {name: summary[name] for name in two[0].metrics} == two[0].metrics


def test_a_second_export_adds_nothing_and_a_changed_training_takes_its_own_place(two, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    assert tensorboard.export(two, tmp_path) == 2
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert tensorboard.export(two, tmp_path) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    more = trainings(results(["trades"], ("natural", "cw", "autoattack", "adaptive")), epochs(["trades"], number=4))
    assert tensorboard.export(more, tmp_path) == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2


@pytest.mark.parametrize(("tracker", "package"), [(tensorboard, "tensorboard"), (mlflow, "mlflow"), (wandb, "wandb")])
def test_a_missing_tool_is_named_with_the_extra_that_installs_it(tracker, package, two, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(HarnessError, match=rf"needs {package}, .*: pip install 'robustness-harness\[{package}\]'"):
        tracker.export(two, tmp_path)
