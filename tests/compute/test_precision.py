"""Which precision is faster: chosen from timings by a clock of the test's own, kept once measured."""

import json
import math

import pytest
import torch

from harness.compute import precision
from harness.compute.precision import device_speedup, in_words, preferred, speedup

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("ratio", "chosen", "said"),
    [
        (1.9, "bfloat16", "1.9 times as fast as float32 here"),
        (1.1, "bfloat16", "1.1 times as fast as float32 here"),
        (1.09, "float32", "bfloat16 takes about as long here"),
        (0.95, "float32", "bfloat16 takes about as long here"),
        (1 / 15, "float32", "bfloat16 takes 15.0 times as long here"),
        (0.0, "float32", "bfloat16 does not work here"),
    ],
)
def test_bfloat16_must_be_clearly_faster(ratio, chosen, said):
    assert (preferred(ratio), in_words(ratio)) == (chosen, said)


class Work:
    """Steps that take as long as they are said to, by the clock that the measurement reads."""

    def __init__(self, monkeypatch, *, image, first=0.0, slower=1.0):
        self.now, self.images, self.threads, self.seen = 0.0, [], set(), set()
        self.image, self.first, self.slower = image, first, slower
        for clock in ("perf_counter", "thread_time"):
            monkeypatch.setattr(precision.time, clock, lambda: self.now)

    def __call__(self, images):
        low = torch.is_autocast_enabled("cpu")
        self.now += images * self.image * (self.slower if low else 1.0)
        self.now += 0.0 if (low, images) in self.seen else self.first
        self.seen.add((low, images))
        self.images.append(images)
        self.threads.add(torch.get_num_threads())


@pytest.mark.parametrize("slower", [15.0, 1.0, 0.5])
def test_the_speedup_is_that_of_the_steps_but_for_their_first_calls(monkeypatch, slower):
    work = Work(monkeypatch, image=0.001, first=0.3, slower=slower)
    assert speedup(work, 100, CPU) == pytest.approx(1 / slower)


def test_as_many_images_are_timed_as_take_ten_milliseconds(monkeypatch):
    """Two at least, and never more than there are."""
    for image, most, expected in ((0.001, 100, 10), (1.0, 100, 2), (0.0001, 20, 20), (0.001, 1, 1)):
        work = Work(monkeypatch, image=image)
        speedup(work, most, CPU)
        assert work.images[-1] == expected


def test_a_slow_step_in_bfloat16_is_made_twice_and_no_more(monkeypatch):
    work = Work(monkeypatch, image=0.05, slower=15.0)
    speedup(work, 100, CPU)
    assert work.images == [2] * 5  # float32: twice to see how long it takes, and once each in turn


def test_one_thread_is_timed_and_the_others_are_given_back(monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        work = Work(monkeypatch, image=0.01)
        speedup(work, 4, CPU)
        assert (work.threads, torch.get_num_threads()) == ({1}, 2)
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def measurements(monkeypatch, tmp_path):
    """An empty cache, and how often something was measured; each measurement gives another number."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def measure(step, most, device):
        made.append(device.type)
        return 1.0 + len(made)

    monkeypatch.setattr(precision, "speedup", measure)
    return made


def test_a_device_is_measured_once(measurements):
    assert [device_speedup("cpu") for _ in range(3)] == [2.0] * 3
    (file,) = precision._cache().iterdir()
    kept = json.loads(file.read_text())
    assert (kept["device"], kept["torch"], kept["speedup"]) == ("cpu", torch.__version__, 2.0)


@pytest.mark.parametrize("change", ["processor", "instructions", "torch"])
def test_another_machine_or_version_is_measured_anew(measurements, monkeypatch, change):
    """They may share the folder: each finds its own."""
    here = precision._about(CPU)
    for about, expected in ((here, 2.0), ({**here, change: "other"}, 3.0), (here, 2.0)):
        monkeypatch.setattr(precision, "_about", lambda _, about=about: about)
        assert device_speedup("cpu") == expected


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"speedup": "fast"}', '{"speedup": NaN}', '{"speedup": -1}'])
def test_a_damaged_file_is_replaced(measurements, content):
    device_speedup("cpu")
    (file,) = precision._cache().iterdir()
    file.write_text(content)
    assert [device_speedup("cpu") for _ in range(2)] == [3.0, 3.0]


def test_where_nothing_can_be_kept_it_is_measured_again(measurements, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [device_speedup("cpu") for _ in range(2)] == [2.0, 3.0]

    def homeless(_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(precision.Path, "home", classmethod(homeless))
    assert device_speedup("cpu") == 4.0


def test_a_device_that_fails_is_no_faster_and_asked_again(measurements, monkeypatch):
    def fail(step, most, device):
        raise RuntimeError("no bfloat16")

    with monkeypatch.context() as failing:
        failing.setattr(precision, "speedup", fail)
        assert device_speedup("cpu") == 0.0
    assert device_speedup("cpu") == 2.0


def test_this_machine_can_be_measured(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = torch.random.get_rng_state()
    assert 0 < device_speedup("cpu") < math.inf
    assert torch.equal(torch.random.get_rng_state(), before)
