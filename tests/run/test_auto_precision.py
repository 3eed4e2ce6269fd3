"""What ``protocol.precision=auto`` stands for: what is faster, unless the workspace was begun in the other."""

from concurrent.futures import Future
from functools import partial

import numpy as np
import pytest
from command_line import harness

from harness.api.data import Data, Split
from harness.api.errors import HarnessError
from harness.api.specs import TrainSpec, job_id
from harness.plan.graph import Request, plan
from harness.run import precision, session
from harness.run.executors import InlineExecutor, Slot
from harness.run.workspace import Workspace

PRECISIONS = ("float32", "bfloat16")


@pytest.fixture(scope="module")
def coloured():
    """Images of a data set that no setup names."""
    split = Split(np.zeros((40, 3, 32, 32), np.uint8), np.arange(40) % 4)
    return Data("coloured", split, split, ("a", "b", "c", "d"), "f1")


@pytest.fixture
def measured(monkeypatch):
    """The speedups that the slots of a pool measure, and a pool with one of them each; popped when they are asked."""
    speedups = []

    class Pool(InlineExecutor):
        def everywhere(self, call):
            assert call is precision.device_speedup
            futures = [Future() for _ in speedups]
            for future, speedup in zip(futures, speedups, strict=True):
                future.set_result(speedup)
            speedups.clear()
            return futures

    return speedups, Pool(Slot("cpu", 1))


def trainings(request, auto):
    return [job.spec for job in plan(request, auto=auto) if isinstance(job.spec, TrainSpec)]


def test_a_spec_holds_what_auto_stands_for(coloured):
    """The same job as where the precision was asked for."""
    for auto in PRECISIONS:
        (spec,) = trainings(Request(methods=["trades"], data=coloured), auto)
        asked = Request(methods=["trades"], data=coloured, settings=[f"protocol.precision={auto}"])
        for other in PRECISIONS:
            assert trainings(asked, other) == [spec]
        assert spec.protocol.precision == auto


def test_digits_and_mnist_are_float32_unless_auto_is_asked_for(digits):
    for name in ("digits", "mnist"):
        data = Data(name, digits.train, digits.test, digits.classes, digits.fingerprint)
        (spec,) = trainings(Request(methods=["natural"], data=data), "bfloat16")
        assert spec.protocol.precision == "float32"
        asked = Request(methods=["natural"], data=data, settings=["protocol.precision=auto"])
        assert trainings(asked, "bfloat16")[0].protocol.precision == "bfloat16"


def test_no_other_word_is_a_precision(coloured):
    with pytest.raises(HarnessError, match=r"protocol\.precision.*'auto', 'float32' or 'bfloat16'.*got 'float16'"):
        plan(Request(methods=["natural"], data=coloured, settings=["protocol.precision=float16"]))


@pytest.fixture
def resolved(coloured, measured, tmp_path):
    """Resolves a request in a workspace in which some trainings were begun."""
    workspace = Workspace.at(tmp_path, "coloured", tmp_path / "data")

    def resolve(speedups, begun=(), **changes):
        for spec in begun:
            file = workspace.job(job_id(spec)).spec
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(spec.model_dump_json())
        request = Request(**{"methods": ["natural", "trades"], "data": coloured} | changes)
        plans = {auto: plan(request, auto=auto) for auto in PRECISIONS}
        measured[0][:] = speedups
        found = precision.resolve(plans, workspace, measured[1])
        return (*found, not measured[0])

    return resolve


@pytest.mark.parametrize(
    ("speedups", "expected"),
    [
        ([1.9], ("bfloat16", "1.9 times as fast as float32 here", True)),
        ([1 / 15], ("float32", "bfloat16 takes 15.0 times as long here", True)),
        ([3.0, 2.0], ("bfloat16", "2.0 times as fast as float32 here", True)),
        ([3.0, 0.5], ("float32", "bfloat16 takes 2.0 times as long here", True)),
    ],
)
def test_auto_is_what_every_device_is_faster_in(resolved, speedups, expected):
    assert resolved(speedups) == expected


@pytest.mark.parametrize("begun", PRECISIONS)
def test_what_another_machine_began_goes_on_in_its_precision(resolved, coloured, begun):
    """One of the two methods is enough; nothing is measured. A training that differs otherwise has no say."""
    measured = {"float32": 2.0, "bfloat16": 0.1}
    other = trainings(Request(methods=["trades"], data=coloured, epochs=7), begun)
    assert resolved([measured[begun]], other)[0] != begun
    spec = trainings(Request(methods=["trades"], data=coloured), begun)
    assert resolved([measured[begun]], spec) == (begun, "as the jobs in this workspace", False)


def test_of_both_the_one_with_more_trainings_goes_on(resolved, coloured):
    one = trainings(Request(methods=["trades"], data=coloured), "bfloat16")
    both = trainings(Request(methods=["natural", "trades"], data=coloured), "float32")
    assert resolved([2.0], [*one, *both]) == ("float32", "as the jobs in this workspace", False)
    assert resolved([2.0], trainings(Request(methods=["natural"], data=coloured), "bfloat16"))[0] == "bfloat16"


@pytest.mark.parametrize("asked", PRECISIONS)
def test_what_is_asked_for_is_done_whatever_was_begun(resolved, coloured, asked):
    for begun in PRECISIONS:
        spec = trainings(Request(methods=["natural", "trades"], data=coloured), begun)
        assert resolved([2.0], spec, settings=[f"protocol.precision={asked}"])[1:] == (None, False)


def test_the_protocol_says_what_auto_became_and_why(coloured):
    jobs = plan(Request(methods=["natural"], data=coloured), auto="bfloat16")
    assert "lr 0.01 piecewise, bfloat16 (auto: 1.9 times as fast as float32 here)\n" in session.describe(
        jobs, "1.9 times as fast as float32 here"
    )
    assert "lr 0.01 piecewise, bfloat16\n" in session.describe(jobs, None)


def test_every_setting_is_checked_before_anything_is_measured(measured, tmp_path):
    speedups, pool = measured
    speedups.append(2.0)
    ask = partial(Request, methods=["natural"], settings=["protocol.precision=auto"], attacks=["pdg-20"])
    with pytest.raises(HarnessError, match="pdg"):
        session.prepare(Workspace.at(tmp_path, "digits", tmp_path / "data"), ask, pool)
    assert speedups == [2.0]


def test_a_run_says_what_auto_became_and_goes_on_so_on_another_machine(tmp_path, monkeypatch):
    """The other machine is this one, after bfloat16 has become slow. Both runs are stopped as their training begins."""
    command = ["run", "--methods", "natural", "--attacks", "fgsm", "--executor", "inline", "--workspace", tmp_path]
    command += ["--data-root", tmp_path / "data", "--set", "protocol.precision=auto"]

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.run.worker.train", stop)
    for speedup, said in ((1.9, "1.9 times as fast as float32 here"), (0.1, "as the jobs in this workspace")):
        monkeypatch.setattr(precision, "device_speedup", lambda _, speedup=speedup: speedup)
        assert f"bfloat16 (auto: {said})" in harness(*command, code=130)
    assert len(list(tmp_path.glob("jobs/train-*"))) == 1
