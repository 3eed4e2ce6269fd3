"""What is measured before a run, where the answer is known."""

import pytest
import torch

from harness.compute.passes import Passes
from harness.plan.graph import Request, plan
from harness.run.measure import extrapolated, passes, training_cost


def jobs_of(digits, method, **words):
    return {job.kinds[0][1]: job.spec for job in plan(Request([method], digits, checkpoints=["last"], **words))}


def test_passes_are_those_of_half_of_the_examples_standing(digits):
    """PGD-20: 25 forwards and 20 backwards where an example stands, two looks where it falls at once."""
    specs = jobs_of(digits, "pgd-at", attacks=["pgd-20"], test_examples=100)
    assert passes(specs["natural"], digits, {}) == Passes(200, 0)
    counted = {}
    assert passes(specs["pgd-20"], digits, counted) == Passes(50 * 25 + 50 * 2, 50 * 20)
    other = {}
    passes(jobs_of(digits, "trades-ancra", attacks=["pgd-20"])["pgd-20"], digits, other)
    assert other == counted, "whichever method comes first"


def test_nothing_stands_of_a_method_that_does_not_train_for_it(digits):
    assert passes(jobs_of(digits, "natural", attacks=["pgd-20"])["pgd-20"], digits, {}) == Passes(400, 0)


def test_a_training_is_extrapolated_from_an_epoch_of_a_few_batches(train_spec):
    """By hand: of 480 examples 96 are held out and 384 trained on, in 4 s; of 1,437 it is 287 and 1,150, 40 times."""
    spec = train_spec("pgd-at", examples=None, epochs=40, batch_size=128)
    epoch = {"images_per_second": 96.0, "seconds": 4.96}
    seconds = extrapolated(spec, 1437, 480, epoch, saving=0.5)
    assert seconds == pytest.approx(40 * (1150 / 96 + 287 * 0.01 + 0.5))


def test_a_training_is_measured(digits, train_spec):
    """One batch of 160 examples that are all there are; on the CPU no memory is known."""
    seconds, memory = training_cost(train_spec("natural", epochs=1), digits, torch.device("cpu"))
    assert seconds > 0
    assert memory is None
