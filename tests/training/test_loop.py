"""The training loop: what it learns, keeps and resumes."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from training_runs import history_of

from harness.api.errors import HarnessError
from harness.api.method import LossTerms, Method, methods
from harness.api.model import models
from harness.compute.memory import ran_out
from harness.training.loop import TrainingDiverged, train
from harness.training.memory import BatchTooLarge
from harness.training.models import build_model
from results.layout import JobFiles

CPU = torch.device("cpu")


def run(spec, data, directory, stop_after=None):
    """Train; with ``stop_after``, break off as a kill after that epoch's checkpoint would."""

    def report(progress):
        if progress["epoch"] == stop_after:
            raise KeyboardInterrupt

    return train(spec, data, CPU, JobFiles(directory), report)


def weights(directory, name="last"):
    return load_file(directory / f"{name}.safetensors")


def assert_same_weights(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("method", ["natural", "trades", "mart-ancra"])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(method, train_spec, digits, tmp_path):
    """Optimiser, schedule, averaging, best-so-far and random state all come back."""
    spec = train_spec(method, epochs=3, weight_averaging=0.9, augmentation="crop-flip")
    whole = run(spec, digits, tmp_path / "whole")
    for stop in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            run(spec, digits, tmp_path / "parts", stop_after=stop)
    resumed = run(spec, digits, tmp_path / "parts")
    for name in ("best", "last"):
        assert_same_weights(weights(tmp_path / "whole", name), weights(tmp_path / "parts", name))
    assert history_of(tmp_path / "whole") == history_of(tmp_path / "parts")
    assert whole["best_epoch"] == resumed["best_epoch"]
    paper = methods[method].paper
    assert whole["paper"] == (paper and {"title": paper.title, "url": paper.url, "bibtex": paper.bibtex})


def test_a_model_that_writes_into_its_images_is_refused(train_spec, digits, tmp_path):
    """Its objective would see other images than it was given; nothing has been trained."""

    @models.add("in-place")
    def build(num_classes, inputs):
        first = nn.Hardtanh(0.1, 0.9, inplace=True)
        return nn.Sequential(first, nn.Flatten(), nn.Linear(64, num_classes))

    spec = train_spec("natural", epochs=1).model_copy(update={"model": "in-place"})
    with pytest.raises(HarnessError, match="model 'in-place' changes its images in place"):
        run(spec, digits, tmp_path)
    assert not (tmp_path / "last.safetensors").exists()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda loss: loss.mean(), r"must return LossTerms\(total, terms\), got a tensor of shape \(\)"),
        (lambda loss: None, "must return LossTerms.*, got a NoneType"),
        (LossTerms, r"scalar tensors, as \.mean\(\) makes them; 'total' has shape \(128,\)"),
        (lambda loss: LossTerms(loss.mean(), {"robust": 0.5}), "scalar tensors.*; 'robust' is 0.5"),
        (lambda loss: LossTerms(loss.mean().detach()), "the total of loss.. has no gradient: it was detached"),
    ],
)
def test_a_loss_that_cannot_be_differentiated_or_kept_says_what_would_be_right(
    answer, said, train_spec, digits, tmp_path
):
    @methods.add("odd")
    @dataclass(frozen=True, kw_only=True)
    class Odd(Method):
        summary = "odd"

        def loss(self, model, x, y, threat, step):
            return answer(F.cross_entropy(model(x), y, reduction="none"))

    with pytest.raises(HarnessError, match=f"^odd: .*{said}"):
        run(train_spec("odd", epochs=1), digits, tmp_path)


def test_another_seed_gives_other_weights(train_spec, digits, tmp_path):
    spec = train_spec("natural", epochs=1)
    run(spec, digits, tmp_path / "0")
    run(spec.model_copy(update={"seed": 1}), digits, tmp_path / "1")
    first, second = weights(tmp_path / "0"), weights(tmp_path / "1")
    assert not torch.equal(first["linear.weight"], second["linear.weight"])


def test_natural_training_learns_digits(train_spec, digits, tmp_path):
    """800 images and six epochs are enough for nine in ten validation images."""
    run(train_spec("natural", epochs=6, examples=1000), digits, tmp_path)
    assert history_of(tmp_path)[-1]["validation_natural"] > 0.9


def test_pgd_training_buys_robustness(train_spec, digits, tmp_path):
    """At the same length, validation accuracy under PGD is far above that of natural training."""
    robust = {}
    for method in ("natural", "pgd-at"):
        run(train_spec(method, epochs=5, examples=1000), digits, tmp_path / method)
        robust[method] = history_of(tmp_path / method)[-1]["validation_robust"]
    assert robust["natural"] < 0.15
    assert robust["pgd-at"] > robust["natural"] + 0.2


@pytest.mark.parametrize(
    ("method", "first", "second"), [("pgd-at", "robust", "natural"), ("natural", "natural", "robust")]
)
def test_best_is_the_first_epoch_of_highest_validation_accuracy(method, first, second, train_spec, digits, tmp_path):
    """Robust, then natural; for the undefended control, whose robust accuracy is chance, the other way round."""
    result = run(train_spec(method, epochs=6, lr=0.3), digits, tmp_path)
    history = history_of(tmp_path)
    scores = [(entry[f"validation_{first}"], entry[f"validation_{second}"]) for entry in history]
    assert result["best_epoch"] == 1 + scores.index(max(scores))


def test_a_diverging_loss_names_method_epoch_and_term_and_keeps_the_last_good_checkpoint(train_spec, digits, tmp_path):
    """The rate is 0 in the first epoch (of one step) and absurd from the second on: epoch 1 stays."""
    spec = train_spec("trades", epochs=4, lr=1e30, schedule="cyclic")
    with pytest.raises(
        TrainingDiverged, match=r"trades: the (loss term '\w+'|largest weight) became (nan|inf) in epoch"
    ):
        run(spec, digits, tmp_path)
    assert len(history_of(tmp_path)) >= 1
    model = torch.load(tmp_path / "state" / "training.pt", weights_only=True)["model"]
    assert all(tensor.isfinite().all() for tensor in model.values())
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path, "best").values())


def test_all_methods_start_from_the_same_weights(train_spec, digits):
    first = build_model(train_spec("pgd-at"), digits).state_dict()
    assert_same_weights(first, build_model(train_spec("trades-ancra"), digits).state_dict())


def test_weight_averaging_saves_the_moving_average(train_spec, digits, tmp_path):
    """With decay 0.999 and a dozen steps the average stays far closer to the start than the trained weights."""
    spec = train_spec("natural", epochs=3, examples=600, schedule="constant")
    start = build_model(spec, digits).state_dict()["linear.weight"]
    moved = {}
    for decay in (0.0, 0.999):
        changed = spec.model_copy(update={"protocol": spec.protocol.model_copy(update={"weight_averaging": decay})})
        run(changed, digits, tmp_path / str(decay))
        moved[decay] = (weights(tmp_path / str(decay))["linear.weight"] - start).norm()
    assert 0 < moved[0.999] < 0.3 * moved[0.0]


def test_bfloat16_training_agrees_with_float32_roughly(train_spec, digits, tmp_path):
    losses = {}
    for precision in ("float32", "bfloat16"):
        run(train_spec("trades", epochs=2, precision=precision), digits, tmp_path / precision)
        losses[precision] = history_of(tmp_path / precision)[-1]["loss"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)
    assert losses["bfloat16"] != losses["float32"]


def test_the_history_has_every_term_of_the_loss(train_spec, digits, tmp_path):
    run(train_spec("trades-ancra", epochs=1), digits, tmp_path)
    entry = history_of(tmp_path)[0]
    assert {"natural", "robust"} < entry["terms"].keys()
    assert 0 <= entry["validation_robust"] <= entry["validation_natural"] <= 1


@pytest.mark.parametrize(
    ("holds", "message"), [(5, "4 fit: choose --set protocol.batch_size=4"), (0, "smaller --model")]
)
def test_a_batch_that_memory_does_not_hold_ends_with_one_that_it_does(holds, message, train_spec, digits, tmp_path):
    @methods.add("greedy")
    @dataclass(frozen=True, kw_only=True)
    class Greedy(Method):
        summary = "runs out of memory"

        def loss(self, model, x, y, threat, step):
            if len(x) > holds:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return LossTerms(F.cross_entropy(model(x), y))

    with pytest.raises(BatchTooLarge, match=message) as raised:
        run(train_spec("greedy", batch_size=16), digits, tmp_path)
    assert "of 16 images" in str(raised.value)
    assert ran_out(raised.value)  # so that it is tried again: another process may have held the memory
