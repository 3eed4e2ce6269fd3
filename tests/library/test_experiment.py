"""``harness.run_experiment``: the jobs of ``harness run``, on somebody else's executor."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from results.queries import long_form
from results.store import Store

QUICK = {"attacks": ["fgsm"], "checkpoints": ["last"], "epochs": 1, "train_examples": 200, "test_examples": 20}


def test_an_experiment_runs_once_on_any_executor(tmp_path):
    place = {"workspace": tmp_path, "data_root": tmp_path / "data", "quiet": True}
    with ThreadPoolExecutor(1) as pool:
        first = harness.run_experiment(["natural"], executor=pool, **place, **QUICK)
        elsewhere = {"store": f"sqlite:///{tmp_path}/team.db"}
        second = harness.run_experiment(["natural"], executor=pool, **place, **elsewhere, **QUICK)
    assert (len(first.done), first.failed, second.done, sorted(second.reused)) == (4, {}, [], sorted(first.done))
    for name in ("harness.db", "team.db"):
        assert set(long_form(Store.open(tmp_path / name))["attack"]) == {"natural", "fgsm", "worst-case"}


def test_a_pool_that_is_broken_fails_the_jobs_by_name(tmp_path):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    outcome = harness.run_experiment(["natural"], executor=pool, workspace=tmp_path, quiet=True, **QUICK)
    assert ["cannot schedule new futures" in reason for reason in outcome.failed.values()] == [True]
    assert len(outcome.blocked) == 3


def test_mistakes_are_said_before_anything_starts(tmp_path):
    with pytest.raises(harness.HarnessError, match="tardes"):
        harness.run_experiment(["tardes"], workspace=tmp_path)
    assert not (tmp_path / "jobs").exists()
