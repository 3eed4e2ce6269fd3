"""Which jobs of a graph may start, against graphs that were thought through by hand."""

from typing import NamedTuple

from harness.run.waiting import Waiting


class Job(NamedTuple):
    id: str
    needs: tuple[str, ...] = ()


TRAIN, OTHER = Job("train"), Job("other")
PGD, ADAPTIVE = Job("pgd", ("train",)), Job("adaptive", ("train", "other"))
DIAGNOSIS = Job("diagnosis", ("train", "pgd", "adaptive"))
GRAPH = [TRAIN, OTHER, PGD, ADAPTIVE, DIAGNOSIS]


def test_a_job_may_start_once_all_that_it_needs_is_done():
    waiting = Waiting(GRAPH, set())
    assert waiting.ready == [TRAIN, OTHER]
    assert waiting.done(TRAIN) == [PGD]
    assert waiting.done(PGD) == []
    assert waiting.done(OTHER) == [ADAPTIVE]
    assert waiting.done(ADAPTIVE) == [DIAGNOSIS]
    assert waiting.done(DIAGNOSIS) == []


def test_what_was_done_before_holds_nothing_up():
    assert Waiting(GRAPH, {"train", "pgd"}).ready == [OTHER]
    assert Waiting(GRAPH, {"train", "pgd", "other", "adaptive"}).ready == [DIAGNOSIS]


def test_what_needs_a_failed_job_never_starts_and_the_rest_does():
    waiting = Waiting(GRAPH, set())
    lost = dict(waiting.lost("other"))
    assert lost == {ADAPTIVE: "other", DIAGNOSIS: "adaptive"}
    assert waiting.done(TRAIN) == [PGD]
    assert waiting.done(PGD) == []


class Counted(tuple):
    """Needs that count how often they are looked at."""

    looks = 0

    def __iter__(self):
        Counted.looks += 1
        return super().__iter__()


def test_a_job_is_looked_at_as_often_whatever_the_number_of_the_others():
    for number in (10, 1000):
        Counted.looks = 0
        jobs = [TRAIN, *(Job(f"evaluate-{each}", Counted(["train"])) for each in range(number))]
        waiting = Waiting(jobs, set())
        assert waiting.done(TRAIN) == jobs[1:]
        assert [waiting.done(job) for job in jobs[1:]] == [[]] * number
        assert Counted.looks == number
