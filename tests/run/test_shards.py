"""An evaluation in shards: the outcome of one device, in one row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from harness.api.specs import EvaluateSpec, job_id
from harness.plan.graph import Request, plan
from harness.plan.shards import in_shards
from harness.run.executors import InlineExecutor, Slot
from harness.run.scheduler import Scheduler
from harness.run.status import survey, with_dependents
from harness.run.workspace import Workspace
from results.queries import long_form
from results.store import Store

QUICK = {"checkpoints": ["last"], "epochs": 1, "train_examples": 200, "test_examples": 60}
BATCH = 8


class Deaf:
    """An observer."""

    def __getattr__(self, _):
        return lambda *_, **__: None


def in_small_batches(job):
    if not isinstance(job.spec, EvaluateSpec):
        return job
    spec = job.spec.model_copy(update={"batch_size": BATCH})
    return replace(job, spec=spec, id=job_id(spec))


@pytest.fixture(scope="module")
def asked(digits):
    """A training, and its evaluations without an attack and by two that draw random numbers, in eight batches each."""
    request = Request(methods=["pgd-at"], data=digits, attacks=["adaptive-3", "pgd-3"], **QUICK)
    return [in_small_batches(job) for job in plan(request) if job.spec.kind in {"train", "evaluate"}]


def run(root, jobs):
    place, store = Workspace(root, "digits", root / "data"), Store.open(root / "harness.db")
    outcome = Scheduler(place, store, InlineExecutor(Slot("cpu", 1)), Deaf()).run(jobs)
    assert outcome.failed == {}
    return place, store, outcome


def nothing(job):
    """Of all jobs, is it done?"""
    return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory, asked):
    return run(tmp_path_factory.mktemp("whole"), asked)


def outcome_of(files):
    result = json.loads(files.result.read_text())
    kept = {name: result[name] for name in ("correct", "examples", "forwards", "backwards", "details")}
    return kept, np.load(files.verdicts).tolist(), files.adversarial.read_bytes()


def test_shards_come_to_what_one_device_finds_in_one_row(tmp_path, asked, whole):
    divided = in_shards(asked, 3, 497, nothing)
    assert [job.spec.kind for job in divided].count("shard") == 6
    place, store, _ = run(tmp_path, divided)
    for job in asked[2:]:
        (found, *arrays), (expected, *others) = (outcome_of(each.job(job.id)) for each in (place, whole[0]))
        assert found["correct"] < sum(np.load(place.job(asked[1].id).verdicts)), "some were broken"
        assert (found, arrays) == (expected, others)
    columns = ["attack", "accuracy", "forwards", "train_id"]
    assert long_form(store)[columns].equals(long_form(whole[1])[columns])
    assert not list(place.jobs.glob("shard-*/adversarial.npz")), "kept once"
    seconds = {path.parent.name: json.loads(path.read_text())["seconds"] for path in place.jobs.glob("*/result.json")}
    assert all(seconds[job.id] >= sum(seconds[shard] for shard in job.shards) for job in divided)


def test_what_is_done_is_not_done_again_and_a_damaged_outcome_is_put_together_again(tmp_path, asked):
    divided = in_shards(asked, 2, 497, nothing)
    place, store, _ = run(tmp_path, divided)
    assert run(tmp_path, divided)[2].done == []
    assert in_shards(asked, 2, 497, lambda job: place.job(job).result.exists()) == asked
    files, before = place.job(divided[-1].id), outcome_of(place.job(divided[-1].id))
    files.verdicts.write_bytes(b"damaged")
    store.remove([files.id])
    assert run(tmp_path, divided)[2].done == [files.id]
    assert outcome_of(files) == before


def test_shards_belong_to_their_evaluation(tmp_path, asked):
    divided = in_shards(asked, 2, 497, nothing)
    run(tmp_path, divided)
    evaluation = divided[-1]
    gone = with_dependents(tmp_path, [evaluation.id])
    assert {files.id for files in gone} == {evaluation.id, *evaluation.shards}
    titles = {state.id: state.title for state in survey(tmp_path)}
    assert titles[evaluation.shards[1]] == "digits pgd-at seed 0 last pgd-3 shard 1 of 2"
    assert divided[-2].title == "pgd-at seed 0 last pgd-3 shard 1 of 2"


def test_only_what_can_be_divided_is(digits):
    """Not an evaluation of one batch, nor what looks at all examples: attacks in rounds, and the diagnosis."""
    jobs = plan(Request(methods=["pgd-at"], data=digits, attacks=["autoattack-fast", "fgsm"], **QUICK))
    assert in_shards(jobs, 4, 497, nothing) == jobs
    small = [in_small_batches(job) for job in jobs]
    divided = in_shards(small, 100, 497, nothing)
    assert [(job.spec.attack.name, job.spec.of) for job in divided if job.spec.kind == "shard"] == [("fgsm", 8)] * 8
    assert [job.id for job in divided if job.spec.kind != "shard"] == [job.id for job in small]
