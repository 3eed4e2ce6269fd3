"""pyautoattack through our door: the same verdicts, quiet, and nothing of the caller's changed."""

import logging
import random
import sys
from collections import Counter
from itertools import islice

import pyautoattack
import pytest
import torch
from oracles import linear_case, many_of_untrained, run, untrained
from torch import nn

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.reference import own_trace, quiet, stages
from harness.compute.modes import computing_in
from harness.evaluation.verify import still_correct

AUTOATTACK = resolve("autoattack-reference")
LINF = Threat("Linf", 0.05)
FAR = Threat("Linf", 0.5)


@pytest.mark.parametrize(("threat", "classes"), [(LINF, 3), (LINF, 4), (Threat("L2", 0.3), 4)], ids=str)
def test_a_linear_model_keeps_exactly_the_examples_beyond_the_margin(threat, classes):
    """Fewer classes than AutoAttack's nine targets, and too few for its DLR losses, work too."""
    case = linear_case(threat, classes)
    x_adv = run(AUTOATTACK, case.model, case.x, case.y, threat)
    assert threat.contains(case.x, x_adv).all()
    assert torch.equal(still_correct(case.model, case.x, case.y, x_adv, threat), case.robust)


def test_it_searches_in_float32_whatever_surrounds_it():
    """It believes what it sees, and Square ends with an error where the logits are bfloat16's. Two classes do."""
    case = linear_case(LINF, 2)
    with computing_in("bfloat16", torch.device("cpu")):
        x_adv = run(AUTOATTACK, case.model, case.x, case.y, LINF)
    assert torch.equal(still_correct(case.model, case.x, case.y, x_adv, LINF), case.robust)


SMALL = Threat("L2", 0.04)  # in Linf the images end in corners of the ball, whatever the seed


@pytest.fixture(scope="module")
def authors():
    """A network, 20 images, their labels, and what pyautoattack itself makes of them, seeded by our first draw."""
    model, x, y = many_of_untrained(20)
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(0)))
    with torch.random.fork_rng(devices=[]), quiet(), own_trace():
        theirs = pyautoattack.AutoAttack(model, eps=SMALL.eps, norm=SMALL.norm, seed=seed, version="standard")
        found, labels = theirs.run_standard_evaluation(x, y, batch_size=len(x))
    assert 3 < (labels == y).sum() < 17
    return model, x, y, found, labels


@pytest.mark.slow
def test_the_examples_are_those_of_pyautoattack_with_the_same_seed(authors):
    """The images agree bit for bit, and so do the verdicts."""
    model, x, y, expected, labels = authors
    ours = run(AUTOATTACK, model, x, y, SMALL)
    assert torch.equal(ours, expected)
    assert torch.equal(still_correct(model, x, y, ours, SMALL), labels == y)


@pytest.mark.slow
def test_every_example_that_it_breaks_is_broken_by_our_autoattack(authors):
    model, x, y, _, labels = authors
    stands = still_correct(model, x, y, run(resolve("autoattack"), model, x, y, SMALL), SMALL)
    assert (stands & (labels != y)).nonzero().flatten().tolist() == []
    assert stands.any()


def test_each_stage_tells_what_it_left_standing_and_the_targeted_ones_try_nine_classes():
    """APGD-CE does all that can be done to a linear model, and leaves the rest to the others in vain.

    A target costs APGD-T 100 steps of one forward pass, and FAB-T 100 steps of two.
    """
    case = linear_case(LINF, 10, count=4)
    passes, counts, found = Counter(), {}, []
    case.model.register_forward_hook(lambda *_: passes.update(["all"]))
    for stage in stages(case.model, case.x, case.y, LINF, seed=0):
        found.append(stage)
        counts[stage.name] = passes.pop("all")
    assert list(counts) == ["apgd-ce", "apgd-t", "fab-t", "square"]
    assert all(torch.equal(stage.robust, case.robust) for stage in found)
    assert torch.equal((found[0].x_adv != case.x).flatten(1).any(1), ~case.robust)
    assert (counts["apgd-t"] // 101, counts["fab-t"] // 200) == (9, 9)


def test_with_fewer_classes_the_targeted_stages_try_every_other_class():
    case = linear_case(LINF, 4, count=2)
    passes = Counter()
    case.model.register_forward_hook(lambda *_: passes.update(["all"]))
    counts = {stage.name: passes.pop("all") for stage in islice(stages(case.model, case.x, case.y, LINF, seed=0), 3)}
    assert (counts["apgd-t"] // 101, counts["fab-t"] // 200) == (3, 3)


def test_stages_end_when_nothing_stands():
    case = linear_case(LINF, 10)
    found = list(stages(case.model, case.x, case.y, FAR, seed=0))
    assert [stage.name for stage in found] == ["apgd-ce"]
    assert not found[0].robust.any()


@pytest.fixture
def tracer():
    before = sys.gettrace()

    def trace(frame, event, argument):
        return None

    sys.settrace(trace)
    yield trace
    sys.settrace(before)


def test_the_callers_world_is_as_it_was(capfd, caplog, tracer):
    """Random states, trace function, logging, modes, requires_grad, grad; not a word printed or logged."""
    case = linear_case(LINF, 3, count=4)
    model = nn.Sequential(nn.Dropout(0.5), case.model).train()
    model[1].eval()
    model[1].bias.requires_grad_(False)
    logger = logging.getLogger("auto-attack")

    def world():
        states = torch.get_rng_state().tolist(), random.getstate()
        return states, sys.gettrace(), list(logger.handlers), logger.propagate, logger.level

    before = world()
    run(AUTOATTACK, model, case.x, case.y, LINF)
    after = world()
    assert after == before
    assert before[1] is tracer
    assert [module.training for module in model.modules()] == [True, True, False]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, False]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


class Dynamic(nn.Module):
    """Calls something named ``grad`` in its forward pass, as a defence that optimises at inference would."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def grad(self):
        return 0.0

    def forward(self, x):
        return self.inner(x) + self.grad()


class Noisy(Dynamic):
    """Answers differently each time."""

    def grad(self):
        return torch.randn(2)

    def forward(self, x):
        return self.inner(x) + torch.randn(2)


@pytest.mark.parametrize("defence", [Dynamic, Noisy])
def test_it_prints_nothing(defence, caplog, capfd):
    """Its warnings are checks of the diagnosis; the logger is given back as it was."""
    case, logger = linear_case(LINF, 2), logging.getLogger("auto-attack")
    before = logger.level, logger.propagate, list(logger.handlers)
    run(AUTOATTACK, defence(case.model), case.x, case.y, FAR)
    assert not caplog.text
    assert capfd.readouterr() == ("", "")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_images_of_any_memory_layout_are_attacked():
    """Images that came as (N, H, W, C) and were permuted, and a channels_last model: the gradient attacks run."""
    model, x, y = untrained()
    model, threat = model.to(memory_format=torch.channels_last), Threat("Linf", 0.005)
    x, y = x[:4].to(memory_format=torch.channels_last), y[:4]
    found = list(islice(stages(model, x, y, threat, seed=0), 3))
    assert [stage.name for stage in found] == ["apgd-ce", "apgd-t", "fab-t"]
    assert torch.equal(found[-1].robust, still_correct(model, x, y, found[-1].x_adv, threat))
