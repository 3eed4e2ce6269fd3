"""Damaged files, folders in their place, workers that vanish: what fits is kept, the rest is done again."""

import errno
import json
import os
import pickle
import shutil

import pytest
import torch
from command_line import harness
from pandas.testing import assert_frame_equal
from rich.console import Console

from harness.plan.graph import Request, plan
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.slots import Slot
from harness.run.progress import Silent
from harness.run.scheduler import Scheduler
from harness.run.status import state_of, survey
from harness.run.workspace import Workspace
from results.checksums import sealed
from results.queries import long_form
from results.rebuild import rebuild
from results.store import Store

QUICK = {"checkpoints": ["last"], "epochs": 2, "train_examples": 200, "test_examples": 20}
OUTCOME = ["method", "checkpoint", "attack", "accuracy", "verdict"]


def planned(digits, attacks=("fgsm",)):
    return plan(Request(methods=["natural"], data=digits, attacks=[*attacks], **QUICK))


@pytest.fixture(scope="module")
def finished(digits, tmp_path_factory):
    """A workspace with one training under FGSM, left alone."""
    root = tmp_path_factory.mktemp("finished")
    outcome = run(root, planned(digits))
    assert len(outcome.done) == 4
    return root


@pytest.fixture
def root(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "runs")


def run(root, jobs, executor=None):
    place = Workspace(root, "digits", root / "data")
    observer = Silent(place, Console(quiet=True), 1)
    return Scheduler(place, Store.open(place.database), executor or InlineExecutor(Slot("cpu", 1)), observer).run(jobs)


def files_of(root, jobs, kind):
    """Of the first job of a kind."""
    return Workspace(root, "digits", root / "data").job(next(job.id for job in jobs if job.spec.kind == kind))


def flip_a_bit(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 4
    path.write_bytes(content)


def numbers(root):
    return long_form(Store.open(root / "harness.db"))[OUTCOME].sort_values("attack", ignore_index=True)


@pytest.mark.parametrize("name", ["best.safetensors", "last.safetensors", "history.jsonl"])
@pytest.mark.parametrize("damage", [flip_a_bit, os.truncate, os.remove], ids=["flipped", "truncated", "missing"])
def test_a_damaged_training_is_done_again_before_it_is_attacked(digits, root, caplog, name, damage):
    """The retrained weights are the old ones, bit for bit, and so is all that was found of them."""
    jobs = planned(digits, ["fgsm", "pgd-2"])
    files = files_of(root, jobs, "train")
    before, path = numbers(root), files.directory / name
    before = before[before.attack.isin(["natural", "fgsm"])][OUTCOME[:4]].reset_index(drop=True)
    whole = path.read_bytes()
    damage(path, *([100] if damage is os.truncate else []))
    outcome = run(root, jobs)
    assert outcome.failed == {}
    assert files.id in outcome.done
    what = "missing" if damage is os.remove else "damaged: it has another checksum than result.json says"
    assert f"{path} is {what}" in caplog.text
    assert (files.directory / "result.json.damaged").exists()
    assert (files.directory / f"{name}.damaged").exists() == (damage is not os.remove)
    if name != "history.jsonl":  # which has times in it
        assert path.read_bytes() == whole
    after = numbers(root)
    assert_frame_equal(after[after.attack.isin(["natural", "fgsm"])][OUTCOME[:4]].reset_index(drop=True), before)


def test_without_its_adversarial_images_an_evaluation_stays_done(digits, root):
    """They are large, and no job needs them: whoever makes room, or copies the rest, loses no evaluation."""
    jobs = planned(digits)
    files = files_of(root, jobs, "evaluate")
    for each in jobs:
        Workspace(root, "digits", root / "data").job(each.id).adversarial.unlink(missing_ok=True)
    diagnosis = files_of(root, jobs, "diagnose")
    diagnosis.result.unlink()
    outcome = run(root, jobs)
    assert outcome.done == [diagnosis.id]
    assert not files.adversarial.exists()


def test_weights_that_are_damaged_are_not_attacked(digits, root):
    """Not even by a worker whom no scheduler has warned."""
    files = files_of(root, planned(digits), "train")
    flip_a_bit(files.weights("last"))
    message = harness("evaluate", "--model", "runs:natural/seed0/last", "--dataset", "digits", "-w", root, code=2)
    assert f"{files.weights('last')} is damaged: it has another checksum" in message
    assert f"delete {files.result}, and `harness run` trains this model again" in message


def test_verdicts_that_are_damaged_are_named_by_rebuild_and_found_again_by_run(digits, root):
    jobs, before = planned(digits), numbers(root)
    files = files_of(root, jobs, "evaluate")
    flip_a_bit(files.verdicts, at=0.999)
    counts, _ = rebuild(root / "harness.db", root / "jobs")
    assert counts.broken == (f"{files.verdicts} is damaged: it has another checksum than result.json says",)
    assert run(root, jobs).done == [files.id]
    assert_frame_equal(numbers(root), before)


@pytest.mark.parametrize("content", ["", '{"id"', "[]", "5", '{"files": 3}', "[" * 100_000])
def test_a_result_that_is_damaged_is_done_again(digits, root, content):
    jobs, before = planned(digits), numbers(root)
    files = files_of(root, jobs, "evaluate")
    files.result.write_text(content)
    assert state_of(files).state == "damaged"
    rebuild(root / "harness.db", root / "jobs")
    assert run(root, jobs).done == [files.id]
    assert_frame_equal(numbers(root), before)


def test_a_result_carries_its_own_checksum(digits, root):
    """A number in it that nothing else contradicts is not believed either."""
    files = files_of(root, planned(digits), "evaluate")
    result = json.loads(files.result.read_text())
    files.result.write_text(json.dumps({**result, "forwards": result["forwards"] + 1}))
    counts, _ = rebuild(root / "harness.db", root / "jobs")
    assert counts.broken == (f"{files.result} is damaged: it has another checksum than it says",)
    files.result.write_text(sealed(result, files))
    assert rebuild(root / "harness.db", root / "jobs")[0].broken == ()


def test_results_of_older_versions_have_no_checksums_and_stay_valid(digits, root):
    jobs = planned(digits)
    for path in root.glob("jobs/*/result.json"):
        old = json.loads(path.read_text())
        del old["files"]
        path.write_text(json.dumps(old))
    assert rebuild(root / "harness.db", root / "jobs")[0].broken == ()
    assert len(run(root, jobs).reused) == len(jobs)


@pytest.mark.parametrize("content", [b"", b'{"kind": "tr', b"\xff\xfe", b"null"])
@pytest.mark.parametrize("done", [True, False])
def test_a_spec_that_is_damaged_is_written_again(digits, root, content, done):
    """The scheduler holds it: a job that is done stays done."""
    jobs = planned(digits)
    files = files_of(root, jobs, "evaluate")
    text = files.spec.read_text()
    files.spec.write_bytes(content)
    if not done:
        files.result.unlink()
    assert run(root, jobs).failed == {}
    assert files.spec.read_text() == text
    assert files.directory.joinpath("result.json.damaged").exists() is False


@pytest.mark.parametrize(
    "name", ["spec.json", "result.json", "progress.json", "lock", "log.txt", "verdicts.npy", "state/evaluation.pt"]
)
def test_a_folder_in_a_files_place_is_moved_aside(digits, root, name):
    """``status`` and ``rebuild`` pass over it, and the other jobs never notice."""
    jobs, before = planned(digits), numbers(root)
    files = files_of(root, jobs, "evaluate")
    shutil.rmtree(files.directory)
    (files.directory / name / "inside").mkdir(parents=True)
    assert [state.state for state in survey(root)].count("done") == len(jobs) - 1
    counts, _ = rebuild(root / "harness.db", root / "jobs")
    assert counts.done == len(jobs) - 1
    assert run(root, jobs).failed == {}
    if not name.startswith("state"):  # which goes once the job is done
        assert (files.directory / f"{name}.damaged" / "inside").exists()
    assert_frame_equal(numbers(root), before)


def test_a_file_in_the_place_of_a_job_is_moved_aside(digits, root):
    jobs = planned(digits)
    files = files_of(root, jobs, "evaluate")
    shutil.rmtree(files.directory)
    files.directory.write_text("not a folder")
    assert run(root, jobs).done == [files.id]


class Evil:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return (os.system, ("touch /tmp/harness-was-here",))


STATES = {
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "flipped": flip_a_bit,
    "of something else": lambda path: torch.save({"epoch": 1}, path),
    "a list": lambda path: torch.save([1], path),
    "malicious": lambda path: torch.save({"epoch": Evil()}, path),
    "a malicious pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
}


@pytest.mark.parametrize("damage", STATES.values(), ids=STATES)
def test_a_training_starts_afresh_from_a_resume_state_that_is_damaged(digits, tmp_path, caplog, monkeypatch, damage):
    """It is kept aside, no code in it is run, and nobody is advised to."""
    jobs = planned(digits, [])[:1]
    files = files_of(tmp_path, jobs, "train")
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if killed before it
        run(tmp_path, jobs)
    weights = files.weights("last").read_bytes()
    files.result.unlink()
    damage(files.training_state)
    caplog.clear()
    assert run(tmp_path, jobs).done == [files.id]
    assert "training.pt cannot be resumed from: " in caplog.text
    assert "weights_only" not in caplog.text
    assert files.weights("last").read_bytes() == weights
    if damage is STATES["malicious"]:
        assert "it names posix.system" in caplog.text


class Vanishing(InlineExecutor):
    """A worker that does nothing, says nothing, and claims to be done."""

    def submit(self, call, /, *args, **kwargs):
        return super().submit(lambda *_: None)


def test_a_worker_that_leaves_no_result_has_failed(digits, tmp_path):
    jobs = planned(digits, [])[:1]
    outcome = run(tmp_path, jobs, Vanishing(Slot("cpu", 1)))
    assert "result.json is missing" in outcome.failed[jobs[0].id]
    assert [(state.state, state.detail) for state in survey(tmp_path)] == [("failed", outcome.failed[jobs[0].id])]


def test_a_plugin_that_ends_the_program_fails_its_job_alone(digits, tmp_path, monkeypatch):
    monkeypatch.setattr("harness.run.worker.train", lambda *_: exit(3))
    jobs = planned(digits)
    outcome = run(tmp_path, jobs)
    assert outcome.failed == {jobs[0].id: "SystemExit: 3"}
    assert len(outcome.blocked) == len(jobs) - 1


def test_a_disk_that_is_full_for_one_job_is_its_failure(digits, tmp_path, monkeypatch):
    """Its spec cannot be written: the message is the system's, and no file is said to be damaged."""

    def full(path, write, **_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("harness.compute.files.write_atomically", full)
    jobs = planned(digits, [])[:1]
    assert "No space left on device" in run(tmp_path, jobs).failed[jobs[0].id]
