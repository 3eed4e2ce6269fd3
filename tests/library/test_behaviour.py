"""What foreign models do besides answering: nothing of it changes a number, or it is found."""

import random

import numpy as np
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images
from torch import nn

import harness

THREAT = harness.Threat("Linf", 0.1)
STANDING = [False, False, True, True, True, False]
X = constant_images(MARGINS)


class OwnTrain(Threshold):
    """A model whose ``train`` is not a mode, behind dropout that would be seen in training mode."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.9)

    def forward(self, x):
        return super().forward(self.dropout(x))

    def train(self, loader=None, epochs=3):
        assert loader is None, "this trains"
        return self


def test_a_train_method_of_the_models_own_is_never_called():
    model = OwnTrain()
    assert model.training
    result = harness.evaluate(model, X, LABELS, threat=THREAT, attacks=["pgd-20"])
    assert result.verdicts["pgd-20"].tolist() == STANDING
    assert model.training
    assert model.dropout.training


class OnBatch(Threshold):
    """A model that normalises by the batch."""

    def forward(self, x):
        return super().forward(x - x.mean() + 0.6)


def test_a_model_that_looks_at_the_whole_batch_is_not_trusted():
    result = harness.evaluate(OnBatch(), X, LABELS, threat=THREAT, attacks=["pgd-20"])
    assert "depends-on-batch" in {finding.code for finding in result.findings}
    plain = harness.evaluate(Threshold(), X, LABELS, threat=THREAT, attacks=["pgd-20"])
    assert "depends-on-batch" not in {finding.code for finding in plain.findings}


class Counting(Threshold):
    """A model whose statistics move with every image, in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += len(x)
        return super().forward(x)


def test_buffers_that_the_forward_pass_changes_are_given_back():
    model = Counting()
    harness.evaluate(model, X, LABELS, threat=THREAT, attacks=["fgsm"])
    assert model.seen == 0


def test_inference_mode_around_the_call_changes_nothing():
    """As in a test step of a training library: gradients are there all the same, and models built there have some."""
    with torch.inference_mode():
        inside = X.clone()
        for model in (Threshold(), Threshold().requires_grad_(False)):
            result = harness.evaluate(model, inside, LABELS, threat=THREAT, attacks=["fgsm", "adaptive:steps=5"])
            assert result.verdicts["fgsm"].tolist() == STANDING
            assert result.verdicts["adaptive:steps=5"].tolist() == STANDING
    outside = harness.evaluate(model, inside, LABELS, threat=THREAT, attacks=["fgsm"])
    assert outside.verdicts["fgsm"].tolist() == STANDING


def noisy(x):
    noise = np.random.standard_normal() + random.gauss(0, 1)  # noqa: NPY002
    logits = Threshold()(x)
    return logits + torch.tensor([0.0, 8 * noise])


def test_a_seed_fixes_numpy_and_python_too_and_gives_them_back():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first, second = (harness.evaluate(noisy, X, LABELS, threat=THREAT, attacks=["pgd-5"], seed=3) for _ in range(2))
    assert first.verdicts["pgd-5"].tolist() == second.verdicts["pgd-5"].tolist()
    assert first.findings == second.findings
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_no_more_images_at_once_than_asked_for():
    """Diagnostics and views included."""

    def few(x):
        assert len(x) <= 4, "too many"
        return Threshold()(x)

    result = harness.evaluate(few, X, LABELS, threat=THREAT, attacks=["pgd-20", "adaptive:steps=5"], batch_size=4)
    assert result.verdicts["pgd-20"].tolist() == STANDING


def test_a_function_that_answers_in_numpy_is_attacked_without_a_gradient():
    model = Threshold()
    result = harness.evaluate(
        lambda x: model(x).detach().numpy(), X, LABELS, threat=THREAT, attacks=["autoattack"], diagnostics=False
    )
    assert result.verdicts["autoattack"].tolist() == STANDING
