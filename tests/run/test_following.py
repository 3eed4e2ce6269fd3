"""What another process sees of a run."""

import json
import sys
from subprocess import run

import pytest
from filelock import FileLock
from rich.console import Console

from harness.compute.files import save_text
from harness.plan.graph import Request, plan
from harness.run import session
from harness.run.executors import executor_for
from harness.run.following import Follower, save_plan
from results.store import Store


@pytest.fixture(scope="module")
def jobs(digits):
    """A training, ``natural``, ``fgsm`` and a diagnosis."""
    return plan(Request(methods=["pgd-at"], data=digits, attacks=["fgsm"], checkpoints=["last"]))


def start(here, job):
    files = here.job(job.id)
    save_text(files.spec, job.spec.model_dump_json())
    return files


def finish(here, job, seconds):
    save_text(start(here, job).result, json.dumps({"seconds": seconds}))


def test_jobs_that_no_worker_has_seen_yet_are_waiting(here, jobs):
    """A job's directory is made when it starts; before that only the plan knows of it."""
    assert Follower(here).look().waiting == 0
    save_plan(here, jobs, workers=1)
    found = Follower(here).look()
    assert (found.done, found.waiting, found.running, found.failed, found.left) == (0, 4, [], [], "")


def test_a_run_is_followed_to_its_end(here, jobs):
    """By hand: the evaluations are expected to take as long as the one that is done, half of one is behind."""
    save_plan(here, jobs, workers=1)
    train, natural, fgsm, diagnosis = jobs
    follower = Follower(here)
    finish(here, train, 300.0)
    finish(here, natural, 10.0)
    files = start(here, fgsm)
    save_text(files.progress, json.dumps({"examples": 100, "of": 200}))
    with FileLock(files.lock):
        found = follower.look()
    assert (found.done, found.waiting) == (2, 1)
    assert [(job.title, job.detail) for job in found.running] == [("pgd-at seed 0 last fgsm", "100/200 examples")]
    save_text(files.failure, json.dumps({"error": "no memory"}))
    found = follower.look()
    assert [(job.title, job.detail) for job in found.failed] == [("pgd-at seed 0 last fgsm", "no memory")]
    assert found.left == ""
    files.failure.unlink()
    finish(here, fgsm, 200.0)
    finish(here, diagnosis, 1.0)
    found = follower.look()
    assert (found.done, found.waiting, found.running, found.failed) == (4, 0, [], [])


def test_the_time_left_is_that_of_jobs_like_those_that_wait(here, digits):
    first, second, *_ = jobs = [
        job
        for job in plan(Request(methods=["pgd-at"], data=digits, attacks=[], seeds=[0, 1, 2]))
        if job.id.startswith("train-")
    ]
    save_plan(here, jobs, workers=2)
    finish(here, first, 600.0)
    with FileLock(start(here, second).lock):
        assert Follower(here).look().left == "about 10 min left"


def test_an_experiment_leaves_its_plan_before_it_starts(here, jobs, monkeypatch):
    seen = []
    monkeypatch.setattr(session.Scheduler, "run", lambda *_: seen.append(Follower(here).look().waiting))
    session.run(here, jobs, Store.open(here.database), Console(), executor_for("inline", 1, here), quiet=True)
    assert seen == [4]


def test_following_takes_no_torch():
    code = "import sys, harness.run.following; assert 'torch' not in sys.modules"
    run([sys.executable, "-c", code], check=True)
