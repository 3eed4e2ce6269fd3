"""An attack in rounds over the whole test set: who is attacked in which, what is kept through a kill, what counts."""

from dataclasses import dataclass

import pytest
import torch
from oracles import Threshold, constant_images

from harness.api.attack import Proposal, Round, Spared, everything
from harness.api.threat import Threat
from harness.attacks.pgd import PGD
from harness.attacks.search.cascade import Cascade
from harness.evaluation.judge import Examples, judge
from harness.evaluation.judgement import Judgement, at_least

# One step goes 0.05 down, which breaks the first two; more steps break what is nearer to 0.5 than 0.1.
VALUES = [0.52, 0.54, 0.56, 0.58, 0.62, 0.7, 0.8, 0.9, 0.95]
X, Y, THREAT = constant_images(VALUES), torch.ones(len(VALUES), dtype=torch.long), Threat("Linf", 0.1)


def weak(model, x, y, threat, **rest):
    """One step of half the radius; the margin is the distance of the image's value to the threshold."""
    x_adv = x - threat.eps / 2
    margin = x_adv.mean((1, 2, 3)) - 0.5
    return Proposal(x_adv, torch.where(margin < 0, 0, -1), ("step",), margin)


def boast(model, x, y, threat, **rest):
    """Claims to have fooled the model everywhere, with the images as they are."""
    return Proposal(x, torch.zeros(len(x), dtype=torch.long), ("boast",))


@dataclass(frozen=True)
class Lower:
    """A step on everything, then PGD on the nearest ``count`` survivors; the others are spared."""

    count: int = 4
    search: object = PGD(steps=10, random_start=False)

    @property
    def rounds(self):
        return Round("step", weak, everything), Round("lower", self.search, self._lowest)

    def _lowest(self, survey, _):
        standing = survey.standing.nonzero().flatten()
        return standing[survey.margin[standing].argsort()[: self.count]]

    def spared(self, survey):
        left = (survey.standing & (survey.round == 0)).nonzero().flatten()
        return Spared(left, len(left))


def judged(attack, **changes):
    options = {"views": {}, "seed": (0,), "batch_size": 500} | changes
    return judge(Threshold(), Examples(X, Y), attack, THREAT, **options)


@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_each_round_is_over_the_examples_it_chose_in_the_whole_set(batch_size):
    """The step breaks two; of the seven others the nearest four are 0.56 to 0.7, of which PGD breaks two."""
    found = judged(Lower(), batch_size=batch_size)
    assert found.verdicts.tolist() == [False] * 4 + [True] * 5
    assert found.broken_by == {"step": [0, 1]}
    assert (found.spared, found.may_fall) == ([6, 7, 8], 3)


def test_a_claim_that_the_model_does_not_confirm_breaks_nothing():
    found = judged(Lower(search=boast))
    assert found.verdicts.tolist() == [False] * 2 + [True] * 7
    assert (found.broken_by, found.lost) == ({"step": [0, 1], "boast": []}, 4)


@pytest.mark.parametrize("after", range(1, 11))
def test_a_kill_in_any_round_changes_nothing(tmp_path, after):
    """Nine batches of the first round and four of the second, each of one example."""
    whole, seen = judged(Lower(), batch_size=1), []

    def stop(progress):
        seen.append(progress)
        if len(seen) > after:
            raise KeyboardInterrupt

    options = {"batch_size": 1, "state": tmp_path / "state.pt"}
    with pytest.raises(KeyboardInterrupt):
        judged(Lower(), report=stop, **options)
    resumed = judged(Lower(), **options)
    assert torch.equal(resumed.verdicts, whole.verdicts)
    assert (resumed.broken_by, resumed.spared) == (whole.broken_by, whole.spared)
    assert (resumed.forwards, resumed.backwards) == (whole.forwards, whole.backwards)


def test_a_later_round_keeps_the_least_margin():
    """The cascade's first step reaches the ball's edge, 0.1 down; a second look with fewer steps is no farther."""
    margins = []

    @dataclass(frozen=True)
    class Twice(Lower):
        @property
        def rounds(self):
            return Round("far", Cascade(5, ()), everything), Round("step", weak, everything)

        def spared(self, survey):
            margins.extend(survey.margin[4:].tolist())
            return Spared(torch.zeros(0, dtype=torch.long), 0)

    judged(Twice())
    far = [100 * (value - 0.1 - 0.5) for value in VALUES[4:]]  # the logits' slope is 100, the step's margin has none
    step = [value - 0.05 - 0.5 for value in VALUES[4:]]
    assert margins == pytest.approx([min(pair) for pair in zip(far, step, strict=True)], abs=1e-4)


def test_what_a_number_is_at_least_follows_from_what_was_spared():
    """Of 4 the first two were spared, one of which may fall; the second fell to pgd."""
    stands = {"fast": [1, 1, 1, 0], "pgd": [1, 0, 1, 0], "autoattack": [1, 1, 1, 0]}
    found = {name: Judgement(torch.tensor(verdicts, dtype=torch.bool)) for name, verdicts in stands.items()}
    found["fast"].spared, found["fast"].may_fall = [0, 1], 1
    fast = {"fast": found["fast"]}
    assert at_least(fast) == {"fast": 0.5, "worst-case": 0.5}
    assert at_least(fast | {"pgd": found["pgd"]}) == {"fast": 0.5, "worst-case": 0.25}
    assert at_least(found) == {"fast": 0.5}
    assert at_least({"pgd": found["pgd"]}) == {}
