"""The job graph on a real executor, with real jobs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import shared_work
import torch
from results_jobs import jobs
from safetensors.torch import load_file, save_file
from sqlalchemy import select

from harness.api.specs import TrainSpec
from harness.plan.graph import Request, plan
from harness.plugins import load_plugins
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.local import LocalExecutor
from harness.run.executors.slots import Slot
from harness.run.scheduler import Scheduler
from harness.run.workspace import Workspace
from results.checksums import sealed
from results.queries import long_form
from results.schema import StoredEvaluation
from results.store import Store

PLUGIN = Path(__file__).parents[1] / "support" / "faulty_plugin.py"


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.events = []

    def begin(self, jobs):
        pass

    def started(self, job):
        self.events.append(("started", job.title))

    def finished(self, job):
        self.events.append(("finished", job.title))

    def failed(self, job, message, *, retrying):
        self.events.append(("failed", job.title, message, retrying))

    def tick(self):
        pass


QUICK = {"attacks": ["fgsm"], "checkpoints": ["last"], "epochs": 1, "train_examples": 200, "test_examples": 20}


def asked_for(digits, *checkpoints):
    return plan(Request(methods=["pgd-at"], data=digits, **QUICK | {"attacks": ["pgd-2"], "checkpoints": checkpoints}))


@pytest.fixture
def run(tmp_path, digits):
    """Plan and run methods inline in a workspace of their own; returns outcome, recorder and store."""
    load_plugins([PLUGIN])
    place = Workspace(tmp_path, "digits", tmp_path / "data", (PLUGIN,))
    store = Store.open(tmp_path / "harness.db")

    def go(methods, **changes):
        asked = plan(Request(methods=methods, data=digits, **QUICK | changes))
        recorder = Recorder()
        outcome = Scheduler(place, store, InlineExecutor(Slot("cpu", 1)), recorder).run(asked)
        return outcome, recorder, store

    return go


def test_every_job_is_done_once_and_a_second_run_finds_it_done(run):
    first, _, store = run(["natural"])
    assert (len(first.done), len(first.reused), first.failed) == (4, 0, {})
    before = long_form(store)
    second, recorder, store = run(["natural"])
    assert (len(second.done), len(second.reused)) == (0, 4)
    assert recorder.events == []
    assert long_form(store).equals(before)


def outcome_of(place, job):
    """The ``result.json`` of an evaluation, and the bytes of its verdicts and adversarial images."""
    files = place.job(job.id)
    return json.loads(files.result.read_text()), [files.verdicts.read_bytes(), files.adversarial.read_bytes()]


def evaluations(jobs, checkpoint, attack):
    found = [job for job in jobs if job.spec.kind == "evaluate"]
    return [job for job in found if (job.spec.checkpoint, job.spec.attack.name) == (checkpoint, attack)]


def test_the_last_weights_are_attacked_once_where_they_are_the_best(run, tmp_path, digits):
    """After one epoch they are. What is copied is what attacking them finds: a run of ``last`` alone finds it too."""
    run(["pgd-at"], checkpoints=["best", "last"], attacks=["pgd-2"])
    [best], [last] = (evaluations(asked_for(digits, "best", "last"), name, "pgd-2") for name in ("best", "last"))
    place = Workspace(tmp_path, "digits", tmp_path / "data", (PLUGIN,))
    (copied, arrays), (attacked, _) = outcome_of(place, last), outcome_of(place, best)
    assert copied["same_as"] == best.id
    assert (copied["id"], copied["details"]) == (last.id, attacked["details"])
    shutil.rmtree(place.job(best.id).directory)
    shutil.rmtree(place.job(last.id).directory)
    run(["pgd-at"], checkpoints=["last"], attacks=["pgd-2"])
    alone, own = outcome_of(place, last)
    assert "same_as" not in alone
    assert (alone["details"], own) == (copied["details"], arrays)


def test_other_weights_are_attacked_for_themselves(run, tmp_path, digits):
    run(["pgd-at"], checkpoints=["last"])
    [training, *_] = jobs = asked_for(digits, "best", "last")
    place = Workspace(tmp_path, "digits", tmp_path / "data", (PLUGIN,))
    best = place.job(training.id).weights("best")
    save_file({name: torch.zeros_like(tensor) for name, tensor in load_file(best).items()}, best)
    result = place.job(training.id).result
    result.write_text(sealed(json.loads(result.read_text()), place.job(training.id)))
    run(["pgd-at"], checkpoints=["best", "last"], attacks=["pgd-2"])
    [last] = evaluations(jobs, "last", "pgd-2")
    assert "same_as" not in outcome_of(place, last)[0]


def test_an_evaluation_says_how_much_of_it_was_in_bfloat16(run):
    """Nothing of a small model, whatever it was trained in."""
    _, _, store = run(["natural"], attacks=["pgd-20"], settings=["protocol.precision=bfloat16"])
    with store.reading() as session:
        details = {row.attack: row.details for row in session.scalars(select(StoredEvaluation))}
    assert {attack: each["bfloat16_forwards"] for attack, each in details.items()} == {"natural": 0, "pgd-20": 0}


def test_one_failed_job_stops_only_those_that_need_it(run, tmp_path):
    """The broken method's evaluations and their diagnosis are blocked; the sound method is trained and evaluated."""
    outcome, recorder, store = run(["faulty", "natural"])
    assert list(outcome.failed.values()) == ["ZeroDivisionError: division by zero"]
    assert len(outcome.blocked) == 3
    assert set(long_form(store)["method"]) == {"natural"}
    assert [event[3] for event in recorder.events if event[0] == "failed"] == [False], "no try mends code"
    failed = tmp_path / "jobs" / next(iter(outcome.failed))
    assert "ZeroDivisionError" in (failed / "log.txt").read_text()
    assert "1 / zero" in json.loads((failed / "failure.json").read_text())["traceback"]


def test_a_job_that_fails_once_is_tried_again_and_its_failure_forgotten(run, tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTY_MARKER", str(tmp_path / "marker"))
    outcome, recorder, _ = run(["fails-once"])
    assert outcome.failed == {}
    assert [event[3] for event in recorder.events if event[0] == "failed"] == [True]
    assert not list(tmp_path.glob("jobs/*/failure.json"))


def test_a_users_mistake_is_not_tried_again(run):
    """A diverging loss would diverge again: no second try."""
    settings = ["protocol.lr=1e30", "protocol.schedule=constant"]
    outcome, recorder, _ = run(["natural"], settings=settings, epochs=3)
    assert "became nan" in next(iter(outcome.failed.values()))
    assert [event[3] for event in recorder.events if event[0] == "failed"] == [False]


@pytest.mark.slow
def test_worker_processes_report_failures_and_go_on(tmp_path, digits):
    """Two trainings at once on the executor that users get: the broken one reported, the sound one finished."""
    load_plugins([PLUGIN])
    place, store = Workspace(tmp_path, "digits", tmp_path / "data", (PLUGIN,)), Store.open(tmp_path / "harness.db")
    request = Request(methods=["faulty", "natural"], data=digits, attacks=[], epochs=1, train_examples=200)
    faulty, natural = (job for job in plan(request) if isinstance(job.spec, TrainSpec))
    recorder = Recorder()
    with LocalExecutor([Slot("cpu", 1), Slot("cpu", 1)]) as executor:
        outcome = Scheduler(place, store, executor, recorder).run([faulty, natural])
    assert outcome.failed == {faulty.id: "ZeroDivisionError: division by zero"}
    assert [event[3] for event in recorder.events if event[0] == "failed"] == [False]
    assert outcome.done == [natural.id]
    assert jobs(store).set_index("id")["state"].to_dict() == {faulty.id: "failed", natural.id: "done"}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "postgres"], indirect=True)
def test_two_schedulers_on_one_workspace_share_the_work(tmp_path, place):
    """One of them in another process: both end with everything, and each job's log shows exactly one run of it."""
    command = [sys.executable, shared_work.__file__, tmp_path, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        found = shared_work.work(tmp_path, place, other.stdout.readline)
        assert other.communicate(timeout=120)[0].split() == ["4", "0"]
    assert found == [4, 0]
    logs = list(tmp_path.glob("jobs/*/log.txt"))
    assert len(logs) == 4
    assert all(len(log.read_text().splitlines()) == 1 for log in logs)
    assert sorted(jobs(Store.open(place)).id) == sorted(log.parent.name for log in logs)
