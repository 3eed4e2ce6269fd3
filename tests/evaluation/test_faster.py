"""A search is in the precision that the model is faster in, on this machine, and what was used is recorded."""

import time

import pytest
import torch
from defended import Recorder
from oracles import linear_case
from torch import nn

import harness
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.arithmetic import faster_precision
from harness.evaluation.judge import Examples, judge

CASE = linear_case(Threat("Linf", 0.125), 2)


class Slow(nn.Module):
    """Answers after so many seconds of work in float32, and so many in bfloat16; has a million parameters or fewer."""

    def __init__(self, float32, bfloat16, parameters=1_000_000):
        super().__init__()
        self.inner, self.ballast = CASE.model, nn.Parameter(torch.zeros(parameters))
        self.float32, self.bfloat16 = float32, bfloat16

    def forward(self, x):
        end = time.thread_time() + (self.bfloat16 if torch.is_autocast_enabled("cpu") else self.float32)
        while time.thread_time() < end:
            pass
        return self.inner(x)


class Refusing(Slow):
    """Knows no bfloat16."""

    def forward(self, x):
        if torch.is_autocast_enabled("cpu"):
            raise TypeError("unsupported")
        return super().forward(x)


def batch(size):
    return CASE.x[:size], CASE.y[:size]


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (Slow(0.01, 0.001), "bfloat16"),
        (Slow(0.001, 0.01), "float32"),
        (Slow(0.005, 0.005), "float32"),
        (Refusing(0.01, 0.001), "float32"),
    ],
)
def test_the_model_itself_is_timed(model, precision):
    before = torch.random.get_rng_state(), torch.get_num_threads()
    assert faster_precision(model, batch, 12) == precision
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_a_small_model_is_in_float32_and_not_even_asked():
    model = Recorder(Slow(0.01, 0.001, parameters=999_000))
    assert faster_precision(model, batch, 12) == "float32"
    assert model.seen == []


def test_where_memory_is_short_fewer_images_are_timed():
    sizes = []

    def short(size):
        sizes.append(size)
        if size > 4:
            raise torch.OutOfMemoryError("short")
        return batch(size)

    assert faster_precision(Slow(0.01, 0.001), short, 12) == "bfloat16"
    assert sizes == [12, 6, 3]


@pytest.mark.parametrize(
    ("attack", "bfloat16", "precision", "low"),
    [
        ("pgd-20", 0.001, None, True),
        ("pgd-20", 0.02, None, False),
        ("pgd-20", 0.001, "float32", False),
        ("natural", 0.001, None, False),
    ],
)
def test_the_images_that_passed_in_bfloat16_are_counted(attack, bfloat16, precision, low):
    """Of the 21 passes of PGD those before its end in float32; the trials beforehand are no part of the search."""
    options = {"views": {}, "seed": (0,), "batch_size": 100, "precision": precision}
    model = Slow(0.002, bfloat16)
    found = judge(model, Examples(CASE.x, CASE.y), resolve(attack), CASE.threat, **options)
    assert found.bfloat16_forwards <= found.forwards
    assert (12 * 10 <= found.bfloat16_forwards <= 12 * 18) if low else found.bfloat16_forwards == 0
    if attack == "pgd-20":
        assert torch.equal(found.verdicts, CASE.robust)


@pytest.mark.parametrize(("bfloat16", "low"), [(0.0005, True), (0.01, False)])
def test_the_library_call_searches_in_what_is_faster(bfloat16, low):
    model = Recorder(Slow(0.002, bfloat16))
    options = {"threat": CASE.threat, "attacks": ["pgd-20"], "diagnostics": False}
    result = harness.evaluate(model, CASE.x, CASE.y, **options)
    assert torch.equal(result.verdicts["pgd-20"], CASE.robust)
    # Its last passes: the search's end, and the verdict on it. Before them, the search.
    assert (torch.bfloat16 in model.seen[-15:]) == low
