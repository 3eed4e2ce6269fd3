"""One verdict per example: judged in batches, resumable, and true on solvable models."""

import pytest
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images

from harness.api.attack import Proposal
from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute.passes import counting
from harness.evaluation.judge import Examples, judge
from harness.evaluation.judgement import Judgement, accuracies, all_verdicts


def judged(model, x, y, attack="pgd-20", eps=0.1, **changes):
    options = {"views": {}, "seed": (0,), "batch_size": 500} | changes
    return judge(model, Examples(x, y), resolve(attack), Threat("Linf", eps), **options)


@pytest.mark.parametrize("attack", ["fgsm", "pgd-20", "cw", "adaptive"])
@pytest.mark.parametrize("batch_size", [1, 2, 500])
def test_verdicts_equal_the_margins(attack, batch_size):
    """Right and farther than 0.1 from the threshold: only those stand; the last image is wrong from the start."""
    result = judged(Threshold(), constant_images(MARGINS), LABELS, attack, batch_size=batch_size)
    assert result.verdicts.tolist() == [False, False, True, True, True, False]


def test_bytes_and_floats_are_the_same_images():
    x = (constant_images(MARGINS) * 255).round().to(torch.uint8)
    model = Threshold()
    assert torch.equal(judged(model, x, LABELS).verdicts, judged(model, x.float() / 255, LABELS).verdicts)


def test_finished_batches_survive_a_kill(tmp_path):
    """Broken off after the second of five batches: the next call attacks only the rest, and all verdicts agree."""
    x, y, model = constant_images(MARGINS[4::-1]), LABELS[:5], Threshold()
    options = {"attack": "adaptive-20", "batch_size": 1, "state": tmp_path / "state.pt"}
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == 3:  # the start, and two batches
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judged(model, x, y, report=stop, **options)
    whole = judged(model, x, y, "adaptive-20", batch_size=1)
    with counting(model) as count:
        resumed = judged(model, x, y, **options)
        sent = count().forwards
    assert torch.equal(resumed.verdicts, whole.verdicts)
    assert resumed.broken_by == whole.broken_by
    assert resumed.forwards == whole.forwards
    assert 0 < sent < 0.7 * whole.forwards


def test_the_cost_counts_images_through_the_model():
    """PGD-20 on one batch: 20 gradients, and the verification's look at the original and at the proposal."""
    result = judged(Threshold(), constant_images([0.9] * 7), torch.ones(7, dtype=torch.long))
    assert 20 * 7 <= result.forwards <= 26 * 7
    assert result.backwards == 20 * 7


class Small(Threshold):
    """Runs out of memory on more than two images that carry a gradient."""

    def forward(self, x):
        if x.requires_grad and len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().forward(x)


def test_a_batch_too_large_for_memory_is_halved_aloud_and_once_for_all_that_follow(caplog):
    x = constant_images(MARGINS).repeat(2, 1, 1, 1)
    y = LABELS.repeat(2)
    small = judged(Small(), x, y, batch_size=4)
    assert torch.equal(small.verdicts, judged(Threshold(), x, y).verdicts)
    assert [message for message in caplog.messages if "memory" in message] == [
        "memory ran out with 4 images at once: trying 2"
    ]


class Broken(Threshold):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(super().forward(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits[:, 1], r"logits of shape \(N, classes\), got \(6,\)"),
        (lambda logits: logits * float("nan"), "not finite numbers"),
    ],
)
def test_a_model_that_returns_no_logits_is_refused(change, message):
    with pytest.raises(HarnessError, match=message):
        judged(Broken(change), constant_images(MARGINS), LABELS)


def claims(part, parts, x_adv):
    """An attack that proposes ``x_adv`` and makes these claims."""
    return lambda *args, **_: Proposal(x_adv, torch.tensor(part), parts)


def test_what_broke_an_example_is_named_and_unconfirmed_claims_are_counted():
    """0.61 cannot be flipped by 0.1 whatever is claimed; 0.59 can; of the last two nobody says how."""
    x, y = constant_images([0.61, 0.59, 0.58, 0.9]), torch.ones(4, dtype=torch.long)
    attack = claims([0, 1, -1, -1], ("first", "second"), x - 0.1)
    result = judge(Threshold(), Examples(x, y), attack, Threat("Linf", 0.1), views={}, seed=(0,), batch_size=500)
    assert result.verdicts.tolist() == [True, False, False, True]
    assert result.broken_by == {"first": [], "second": [1]}
    assert result.lost == 1


@pytest.mark.parametrize("name", ["autoattack", "adaptive"])
def test_the_strong_attacks_name_what_broke_each_example(name):
    """In batches of two: positions are those in the whole set, and every broken example has one cause."""
    x = constant_images(MARGINS)
    result = judged(Threshold(), x, LABELS, name, batch_size=2)
    causes = sorted(position for found in result.broken_by.values() for position in found)
    assert causes == [0, 1]
    assert result.lost == 0


def test_nothing_to_attack_is_no_error():
    wrong = judged(Threshold(), constant_images([0.9]), torch.tensor([0]))
    assert wrong.verdicts.tolist() == [False]
    assert wrong.forwards == 0


def test_the_worst_case_is_the_intersection():
    judgements = {"a": Judgement(torch.tensor([True, True, False])), "b": Judgement(torch.tensor([True, False, True]))}
    assert all_verdicts(judgements)["worst-case"].tolist() == [True, False, False]
    assert accuracies(judgements) == pytest.approx({"a": 2 / 3, "b": 2 / 3, "worst-case": 1 / 3})
