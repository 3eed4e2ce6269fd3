"""A call that was made before is known by all that its plan depends on, and by nothing else."""

import os
from pathlib import Path

import pytest
from PIL import Image
from results_jobs import write_train

from harness.run import calls
from harness.run.workspace import Workspace
from results.store import Store

WORDS = {"methods": ["pgd-at"], "seeds": [0]}


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "test"):
        for label in ("a", "b"):
            file = tmp_path / "images" / split / label / "0.png"
            file.parent.mkdir(parents=True)
            Image.new("L", (8, 8)).save(file)
    return tmp_path / "images"


def workspace(tmp_path, dataset="digits", plugins=()):
    return Workspace.at(tmp_path / "runs", dataset, tmp_path / "data", plugins)


def done(here, job):
    here.job(job).directory.mkdir(parents=True)
    here.job(job).result.write_text("{}")


def remembered(tmp_path):
    """A workspace with one training and one evaluation, and the call that they were planned for."""
    here = workspace(tmp_path)
    for job in ("train-1", "evaluate-1"):
        done(here, job)
    here.reports.mkdir()
    report = here.reports / "table.md"
    report.write_text("table")
    calls.remember(
        here, "key", ["train-1", "evaluate-1"], {"evaluate-1"}, [report], "in words", Store.open(here.database)
    )
    return here


def test_equal_calls_have_equal_keys_and_other_words_another(tmp_path):
    here = workspace(tmp_path)
    assert calls.key_of(here, WORDS) == calls.key_of(here, dict(WORDS))
    assert calls.key_of(here, WORDS) != calls.key_of(here, {**WORDS, "seeds": [1]})
    assert calls.key_of(here, WORDS) != calls.key_of(workspace(tmp_path, "mnist"), WORDS)


def test_changed_code_is_another_call(tmp_path, monkeypatch):
    """A package of the harness's with one file, before and after an edit."""
    source = tmp_path / "methods" / "mine.py"
    source.parent.mkdir()
    source.write_text("steps = 10\n")
    monkeypatch.setattr(calls, "BUILT_IN", frozenset({"methods"}))
    monkeypatch.setattr(calls, "_REPORTING", frozenset())
    monkeypatch.setattr(calls, "entry_points", lambda group: ())
    monkeypatch.syspath_prepend(tmp_path)
    (source.parent / "__init__.py").touch()
    monkeypatch.delitem(__import__("sys").modules, "methods", raising=False)
    before = calls.key_of(workspace(tmp_path), WORDS)
    source.write_text("steps = 20\n")
    assert before is not None
    assert calls.key_of(workspace(tmp_path), WORDS) != before


def test_changed_images_are_another_call(tmp_path, folder):
    here = workspace(tmp_path, f"imagefolder:{folder}")
    before = calls.key_of(here, WORDS)
    assert calls.key_of(here, WORDS) == before
    os.utime(folder / "train" / "a" / "0.png", ns=(1, 1))
    changed = calls.key_of(here, WORDS)
    assert changed != before
    Image.new("L", (8, 8)).save(folder / "test" / "b" / "1.png")
    assert calls.key_of(here, WORDS) not in (before, changed)


def test_what_third_parties_import_is_their_own_so_their_calls_are_planned_anew(tmp_path, monkeypatch):
    assert calls.key_of(workspace(tmp_path, plugins=[Path("mine.py")]), WORDS) is None
    assert calls.key_of(workspace(tmp_path, "a-plugins-data"), WORDS) is None


def test_a_call_that_is_done_is_recalled_as_it_was(tmp_path):
    here = remembered(tmp_path)
    found = calls.recall(here, "key")
    assert (found.jobs, found.evaluated, found.description) == (["train-1", "evaluate-1"], ["evaluate-1"], "in words")
    assert calls.is_current(here, found, Store.open(here.database))
    assert calls.recall(here, "another") is None


@pytest.mark.parametrize("job", ["train-1", "evaluate-1"])
def test_a_call_of_which_a_job_is_gone_is_planned_anew(tmp_path, job):
    here = remembered(tmp_path)
    here.job(job).result.unlink()
    assert calls.recall(here, "key") is None


def test_another_evaluation_beside_it_changes_the_diagnosis_so_the_call_is_planned_anew(tmp_path):
    here = remembered(tmp_path)
    done(here, "evaluate-2")
    assert calls.recall(here, "key") is None


def test_a_damaged_file_is_as_good_as_none(tmp_path):
    here = remembered(tmp_path)
    for text in ("", "{", "[]", '{"jobs": []}'):
        here.call("key").write_text(text)
        assert calls.recall(here, "key") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda here: Store.open(here.database).ingest(write_train(here.root, "b")),
        lambda here: (here.reports / "table.md").unlink(),
    ],
)
def test_reports_are_written_again_where_they_or_the_database_changed(tmp_path, change):
    here = remembered(tmp_path)
    change(here)
    assert not calls.is_current(here, calls.recall(here, "key"), Store.open(here.database))
