"""Auto-PGD agrees with its reference, and the adaptive attack follows a view where the model's own gradient lies."""

import logging
from collections import Counter

import pyautoattack.autopgd_base
import pytest
import torch
from defended import Coin
from oracles import linear_case, run, untrained
from torch import nn

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.adaptive import TRANSFER, Adaptive, _Runs
from harness.attacks.losses import cross_entropy, dlr
from harness.attacks.reference import quiet
from harness.attacks.search.apgd import apgd
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.found import Claim
from harness.attacks.search.searches import Searches
from harness.attacks.search.survivors import Survivors
from harness.compute.modes import evaluating, frozen
from harness.evaluation.verify import still_correct

LOGGER = logging.getLogger("auto-attack")


def objective(model, y, loss, *, judge=True):
    def both(x_adv, rows):
        logits = model(x_adv)
        fooled = (logits.argmax(1) != y[rows]) & judge
        return loss(logits, y[rows]), Claim(fooled)

    return both


class Reference(pyautoattack.autopgd_base.APGDAttack):
    """The authors' own APGD, started from a given point."""

    def best(self, x, y, start):
        self.init_hyperparam(x)
        return self.attack_single_run(x, y, start)[0]


class Recorder(nn.Module):
    """Keeps every batch that it is asked about."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.inner(x)


@pytest.mark.parametrize("loss", [cross_entropy, dlr])
@pytest.mark.parametrize("threat", [Threat("Linf", 0.15), Threat("L2", 1.5)], ids=str)
def test_apgd_goes_where_the_authors_implementation_goes(threat, loss):
    """Same start, a curved loss, no early stop: the same 101 iterates, and of these the one of highest loss.

    One example in ten may part from the authors': a gradient of almost zero can change its sign with rounding.
    """
    model, x, y = untrained()
    start = threat.random_start(x, torch.Generator().manual_seed(1))
    name, theirs, ours = "ce" if loss is cross_entropy else "dlr", Recorder(model), Recorder(model)
    with quiet():
        Reference(theirs, norm=threat.norm, eps=threat.eps, loss=name, logger=LOGGER).best(x, y, start)
    result, fooled = apgd(objective(ours, y, loss, judge=False), x, threat, start=start, steps=100)
    path, reference = torch.stack(ours.seen), torch.stack(theirs.seen)
    assert path.shape == (101, *x.shape)
    same = (path - reference).abs().transpose(0, 1).flatten(1).amax(1) < 1e-4
    assert same.float().mean() >= 0.9
    with torch.no_grad():
        highest = torch.stack([loss(model(seen), y) for seen in ours.seen]).max(0)
    assert torch.equal(result, path[highest.indices, torch.arange(len(x))])
    assert not fooled.any()


@pytest.mark.parametrize("threat", [Threat("Linf", 0.01), Threat("L2", 0.1)], ids=str)
def test_what_apgd_calls_fooled_is_fooled_and_allowed(threat):
    model, x, y = untrained()
    x_adv, fooled = apgd(objective(model, y, cross_entropy), x, threat, start=x, steps=20)
    assert threat.contains(x, x_adv).all()
    assert torch.equal(model(x_adv).argmax(1) != y, fooled)
    assert 0 < fooled.sum() < len(y)


def test_an_example_that_drops_out_does_not_disturb_the_others():
    """Each example alone has the verdict that it has in the batch."""
    model, x, y = untrained()
    threat = Threat("Linf", 0.01)
    _, together = apgd(objective(model, y, cross_entropy), x, threat, start=x, steps=20)
    alone = [
        apgd(objective(model, y[i : i + 1], cross_entropy), x[i : i + 1], threat, start=x[i : i + 1], steps=20)[1]
        for i in range(len(x))
    ]
    assert torch.equal(torch.cat(alone), together)


def test_the_first_iterate_that_fools_is_kept_while_the_others_go_on():
    """The judge fires on the first example at every look from the third on, and never on the other seven."""
    threat, x = Threat("Linf", 0.1), torch.full((8, 1, 1, 1), 0.5)
    seen = []

    def judged(x_adv, rows):
        seen.append(x_adv.detach().clone())
        return -(x_adv - 0.55).abs().flatten(1).sum(1), Claim((rows == 0) & (len(seen) >= 3))

    x_adv, fooled = apgd(judged, x, threat, start=x - 0.1, steps=50)
    assert fooled.tolist() == [True] + 7 * [False]
    assert torch.equal(x_adv[0], seen[2][0])
    assert len(seen) == 51
    torch.testing.assert_close(x_adv[1:], torch.full((7, 1, 1, 1), 0.55), rtol=0, atol=1e-2)


def test_nothing_is_done_once_every_example_has_fallen():
    threat, x = Threat("Linf", 0.1), torch.full((2, 1, 1, 1), 0.5)
    looks = []

    def judged(x_adv, rows):
        looks.append(len(rows))
        return x_adv.flatten(1).sum(1), Claim(rows < len(looks))

    assert apgd(judged, x, threat, start=x, steps=50)[1].all()
    assert looks == [2, 1]


class Masked(nn.Module):
    """A linear model seen through steps: the pixels are rounded to 1/64, so that no gradient comes back."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x + ((64 * x).round() / 64 - x).detach() - x + x.detach())

    def attack_views(self):
        return {"unrounded": self.inner}


class Opposite(Masked):
    """Always wrong where the inner model is right."""

    def forward(self, x):
        return -self.inner(x)


@pytest.mark.parametrize("threat", [Threat("Linf", 0.125), Threat("L2", 0.75)], ids=str)
def test_adaptive_finds_through_a_view_what_pgd_and_cw_miss(threat):
    """The rounding hides the gradient entirely; the view is the linear model behind it, whose margin is known."""
    case = linear_case(threat, 4)
    model = Masked(case.model)
    x = (64 * case.x).round() / 64
    right = model(x).argmax(1) == case.y
    verdicts = {}
    for name in ("pgd-20", "cw", "adaptive"):
        x_adv = run(resolve(name), model, x, case.y, threat, model.attack_views())
        verdicts[name] = still_correct(model, x, case.y, x_adv, threat)
    assert torch.equal(verdicts["pgd-20"], right)
    assert torch.equal(verdicts["cw"], right)
    assert torch.equal(verdicts["adaptive"], case.robust)


def test_adaptive_believes_the_model_and_not_the_view():
    """A view that is wrong about everything proves nothing: the search goes on to the view that helps."""
    case = linear_case(Threat("Linf", 0.125), 2)
    model, x = Masked(case.model), (64 * case.x).round() / 64
    views = {"gullible": Opposite(case.model), **model.attack_views()}
    x_adv = run(Adaptive(steps=20), model, x, case.y, case.threat, views)
    assert torch.equal(still_correct(model, x, case.y, x_adv, case.threat), case.robust)


class Counted(nn.Module):
    """Counts how often it is asked."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.calls = inner, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x)


def test_stand_ins_that_break_nothing_get_short_runs_alone():
    """A quarter of 20 steps and the start, for each of three losses, and once for the targets; then no more."""
    case = linear_case(Threat("Linf", 0.125), 4)
    model, x = Masked(case.model), (64 * case.x).round() / 64
    assert case.robust.any()  # so that runs go on to the end
    views = {"useless": Counted(Opposite(case.model)), "own": Counted(case.model)}
    run(Adaptive(steps=20), model, x, case.y, case.threat, views)
    short = 3 * (5 + 1) + 1
    assert views["useless"].calls == short
    # Then all losses at full length, the targeted one for three targets.
    assert views["own"].calls == short + 5 * (20 + 1) + 3


def test_a_loss_is_left_after_two_runs_in_a_row_that_break_nothing():
    """Three stand-ins, of which each has broken one of three images beforehand; nothing more can be broken."""
    case = linear_case(Threat("Linf", 0.125), 4)
    stand_ins = {name: Counted(case.model) for name in ("first", "second", "third")}
    with evaluating(case.model), frozen(case.model):
        survivors = Survivors(case.x[case.robust], case.y[case.robust])
        searches = Searches(Criterion(case.model, case.x), case.threat, torch.Generator().manual_seed(0), 10)
        runs = _Runs(searches, stand_ins, survivors, Counter(first=1, second=3, third=2))
        runs.follow("cross-entropy", 0, stand_ins)
    assert {name: each.calls for name, each in stand_ins.items()} == {"first": 0, "second": 11, "third": 11}


class Aimed(nn.Module):
    """Knows its target: raises the target's logit by its own weights, whatever the images look like to others."""

    aimed = True

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x, target):
        assert target.shape == x.shape[:1]
        return self.inner(x)


def test_an_aimed_view_is_given_its_target_and_named_as_the_cause():
    threat = Threat("Linf", 0.125)
    case = linear_case(threat, 4)
    model, x = Masked(case.model), (64 * case.x).round() / 64
    found = Adaptive(steps=20)(
        model, x, case.y, threat, generator=torch.Generator().manual_seed(0), views={"aimed": Aimed(case.model)}
    )
    assert torch.equal(found.part >= 0, ~case.robust & (model(x).argmax(1) == case.y))
    assert {found.parts[part] for part in found.part[found.part >= 0].tolist()} == {"targeted dlr on aimed"}


def test_other_models_come_last():
    """What the model's own views find is never credited to another model."""
    threat = Threat("Linf", 0.125)
    case = linear_case(threat, 4)
    model, x = Masked(case.model), (64 * case.x).round() / 64
    views = {f"{TRANSFER}other": case.model, "own": case.model}
    found = Adaptive(steps=20)(model, x, case.y, threat, generator=torch.Generator().manual_seed(0), views=views)
    assert found.parts[-1].endswith("transfer:other")
    assert not any(found.parts[part].endswith("other") for part in found.part[found.part >= 0].tolist())
    alone = {f"{TRANSFER}other": case.model}
    found = Adaptive(steps=20)(model, x, case.y, threat, generator=torch.Generator().manual_seed(0), views=alone)
    assert torch.equal(found.part >= 0, ~case.robust & (model(x).argmax(1) == case.y))


def test_luck_does_not_count_against_a_random_model():
    """Five wrong answers in a row by chance: 1 in 1024 a look; what is claimed is nearly all really flipped."""
    threat = Threat("Linf", 0.05)
    case = linear_case(threat, 2, count=40)
    found = Adaptive(steps=30)(
        Coin(case.model, 1 / 4), case.x, case.y, threat, generator=torch.Generator().manual_seed(0), views={}
    )
    flipped = case.model(found.x_adv).argmax(1) != case.y
    claimed = found.part >= 0
    assert claimed.sum() >= 15
    assert (claimed & ~flipped).sum() <= 3
