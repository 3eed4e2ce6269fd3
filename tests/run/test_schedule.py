"""Simulated schedules with known lengths."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.run.schedule import simulate


class Node(NamedTuple):
    id: str
    needs: tuple[str, ...] = ()


def took(jobs, devices, seconds):
    return simulate(jobs, seconds, devices).seconds


def test_equal_jobs_that_need_nothing_go_in_rounds():
    jobs = [Node(str(number)) for number in range(7)]
    for devices in (1, 2, 3, 7, 100):
        assert took(jobs, devices, {job.id: 2.0 for job in jobs}) == 2.0 * math.ceil(7 / devices)


def test_a_chain_takes_its_sum_on_any_number_and_the_devices_stand_idle():
    jobs = [Node("a"), Node("b", ("a",)), Node("c", ("b", "done long ago"))]
    found = simulate(jobs, {"a": 1.0, "b": 2.0, "c": 3.0}, 4)
    assert found.seconds == 6.0
    assert found.use(4) == pytest.approx(6 / 24)


def test_what_is_ready_first_comes_first():
    """By hand, two devices: a 0-1, b 0-3; c and d become ready at 1 and go one after the other, d when b ends."""
    jobs = [Node("a"), Node("b"), Node("c", ("a",)), Node("d", ("a",)), Node("e", ("b",))]
    seconds = {"a": 1.0, "b": 3.0, "c": 4.0, "d": 1.0, "e": 1.0}
    assert took(jobs, 2, seconds) == 5.0  # c 1-5, d 3-4, e 4-5
    assert took(jobs, 3, seconds) == 5.0
    assert took(jobs, 1, seconds) == 10.0


def test_nothing_takes_no_time():
    assert simulate([], {}, 3).seconds == 0.0


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 8), max_size=3)), max_size=9), st.integers(1, 4))
def test_a_schedule_lies_within_grahams_bound(drawn, devices):
    """At least the longest chain and the share of each device, at most their sum (Graham 1966)."""
    jobs = [Node(str(n), tuple(str(need) for need in needs if need < n)) for n, (_, needs) in enumerate(drawn)]
    seconds = {str(n): float(length) for n, (length, _) in enumerate(drawn)}
    chain = {}
    for job in jobs:
        chain[job.id] = seconds[job.id] + max((chain[need] for need in job.needs), default=0.0)
    longest, share = max(chain.values(), default=0.0), sum(seconds.values()) / devices
    found = took(jobs, devices, seconds)
    assert max(longest, share) <= found <= share + longest * (devices - 1) / devices + 1e-9
