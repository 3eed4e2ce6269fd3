"""The time left, by hand: means of the jobs that are nearest, divided by the workers."""

import json

import pytest

from harness.run.pace import Left, Pace


def write(here, job, **result):
    files = here.job(job.id)
    files.directory.mkdir(parents=True)
    files.result.write_text(json.dumps(result))


def done_by_pgd_at(here, jobs):
    seconds = {"": 400.0, " last natural": 10.0, " last fgsm": 20.0, " last diagnosis": 30.0}
    for rest, each in seconds.items():
        write(here, jobs[f"pgd-at seed 0{rest}"], seconds=each)


def test_nothing_is_said_before_anything_is_done(here, jobs):
    assert str(Pace(here, jobs.values()).left((), 2)) == ""


def test_what_is_like_nothing_that_is_done_makes_it_more(here, jobs):
    write(here, jobs["pgd-at seed 0"], seconds=400.0)
    left = Pace(here, jobs.values()).left((), 2)
    assert left == (400 / 2, False)
    assert str(left) == "more than 3 min left"


def test_another_method_takes_as_long_until_its_own_jobs_are_known(here, jobs):
    done_by_pgd_at(here, jobs)
    pace = Pace(here, jobs.values())
    assert pace.left((), 2) == ((400 + 10 + 20 + 30) / 2, True)
    write(here, jobs["trades seed 0"], seconds=800.0)
    pace.learn(jobs["trades seed 0"])
    assert pace.left((), 1) == (10 + 20 + 30, True)
    again = plan_of_two_seeds(jobs)
    assert Pace(here, [*jobs.values(), again]).left((), 1) == (10 + 20 + 30 + 800, True)


def plan_of_two_seeds(jobs):
    """TRADES' training of the next seed."""
    job = jobs["trades seed 0"]
    return type(job)(job.spec.model_copy(update={"seed": 1}), "train-another")


def test_what_a_running_job_has_done_is_behind_it(here, jobs):
    done_by_pgd_at(here, jobs)
    running = jobs["trades seed 0"]
    here.job(running.id).directory.mkdir(parents=True)
    here.job(running.id).progress.write_text(json.dumps({"epoch": 15, "epochs": 20}))
    assert Pace(here, jobs.values()).left([running], 2) == ((400 / 4 + 10 + 20 + 30) / 2, True)


def test_a_copied_outcome_says_nothing_of_others(here, jobs):
    write(here, jobs["pgd-at seed 0 last fgsm"], seconds=0.1, same_as="evaluate-1")
    write(here, jobs["pgd-at seed 0"], seconds=400.0)
    assert not Pace(here, jobs.values()).left((), 1).known


@pytest.mark.parametrize(
    ("left", "text"),
    [
        (Left(0.0, True), ""),
        (Left(30.0, True), "less than a minute left"),
        (Left(30.0, False), ""),
        (Left(754.0, True), "about 13 min left"),
        (Left(9000.0, False), "more than 2 h 30 min left"),
    ],
)
def test_in_words(left, text):
    assert str(left) == text
