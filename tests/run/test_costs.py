"""What jobs cost: a file of it, what it is worth beside jobs that are done, and how far a plan was off."""

import json

import pytest

from harness.api.errors import HarnessError
from harness.compute.files import save_text
from harness.plan.graph import Request, plan
from harness.run.costs import Cost, read_costs, save_costs
from harness.run.estimate import rows, schedules, total
from harness.run.pace import Pace


def finish(here, job, seconds, device="cpu (2 threads)"):
    save_text(here.job(job.id).result, json.dumps({"seconds": seconds, "device": device}))


def costs_of(jobs, **seconds):
    """``pgd_at=100.0``: the training of that method."""
    return {jobs[f"{name.replace('_', '-')} seed 0"].kinds[0]: each for name, each in seconds.items()}


def test_a_file_of_costs_is_read_as_it_was_written(tmp_path, jobs):
    costs = {job.kinds[0]: Cost(3.5 + n, n / 2 or None, "cpu", "me, by hand") for n, job in enumerate(jobs.values())}
    save_costs(tmp_path / "costs.csv", costs)
    assert read_costs(tmp_path / "costs.csv") == costs
    assert read_costs(tmp_path / "none.csv") == {}


@pytest.mark.parametrize("row", ["train trades", "train,digits,many,,,", "train,digits,1,much,,"])
def test_a_row_that_cannot_be_read_is_named_with_what_would_be_right(row, tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text(f"job,setting,seconds,GiB,device,source\n{row}\n")
    with pytest.raises(HarnessError, match=r"costs.csv line 2 cannot be read .* a row has job,setting,seconds"):
        read_costs(file)


def test_costs_are_of_one_setting(jobs, digits):
    """Another number of epochs or images, another kind."""
    longer = plan(Request(methods=["pgd-at"], data=digits, attacks=[], epochs=31, test_examples=100))
    kinds = {kind for job in jobs.values() for kind in job.kinds}
    assert kinds.isdisjoint(kind for job in longer if job.spec.kind != "train" for kind in job.kinds)
    assert kinds.isdisjoint(longer[0].kinds)


def test_a_job_that_is_done_counts_before_the_file_and_the_file_before_another_method(here, jobs):
    save_costs(here.costs, costs_of(jobs, trades=Cost(500.0)))
    pgd_at, trades = jobs["pgd-at seed 0"], jobs["trades seed 0"]
    assert Pace(here, jobs.values()).expected(pgd_at.kinds) is None
    finish(here, pgd_at, 400.0)
    pace = Pace(here, jobs.values())
    assert (pace.expected(pgd_at.kinds), pace.expected(trades.kinds)) == (400.0, 500.0)
    finish(here, trades, 700.0)
    assert Pace(here, jobs.values()).expected(trades.kinds) == 700.0


def test_jobs_of_another_kind_of_device_say_nothing(here, jobs):
    save_costs(here.costs, costs_of(jobs, pgd_at=Cost(5.0, None, "NVIDIA H100")))
    job = jobs["pgd-at seed 0"]
    finish(here, job, 400.0)
    assert Pace(here, jobs.values()).expected(job.kinds) == 5.0
    save_costs(here.costs, costs_of(jobs, pgd_at=Cost(5.0, None, "cpu (1 threads)")))
    assert Pace(here, jobs.values()).expected(job.kinds) == 400.0


def test_what_was_planned_stands_beside_what_it_took(here, jobs):
    """By hand; TRADES' training is not done, and nothing is known of what attacks take."""
    save_costs(here.costs, costs_of(jobs, pgd_at=Cost(300.0, 1.5, "cpu"), trades=Cost(600.0, 2.5, "cpu")))
    finish(here, jobs["pgd-at seed 0"], 330.0)
    found = {row.name: row for row in rows([*jobs.values()], Pace(here, jobs.values()))}
    train = found["train"]
    assert (train.jobs, train.done, train.left, train.memory) == (2, 1, 600.0, 2.5)
    assert (train.planned, train.took) == (300.0, 330.0)
    assert train.error == pytest.approx(0.1)
    assert found["fgsm"].left is None
    assert found["fgsm"].error is None
    assert found["fgsm"].needs == {"train": 1}
    assert found["diagnose"].needs == {"train": 1, "evaluate": 2}
    assert total([*found.values()])[:5] == ("all", 8, 1, {}, 600.0)


def test_schedules_end_where_more_devices_gain_nothing(here, jobs):
    """Two trainings of 600 s, nothing else known: two devices halve it, four do not; the three asked for are shown."""
    save_costs(here.costs, costs_of(jobs, pgd_at=Cost(600.0), trades=Cost(600.0)))
    found = schedules([*jobs.values()], Pace(here, jobs.values()), 3)
    assert {devices: each.seconds for devices, each in found.items()} == {1: 1200, 2: 600, 3: 600, 4: 600}
