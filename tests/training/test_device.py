"""The real code paths on the best device there is: on a GPU machine these are the first tests to run."""

import math
from functools import partial

import pytest
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images
from synchronising import SEARCHES, watch
from training_runs import history_of

import harness
from harness.api.method import Step, methods
from harness.api.model import Inputs
from harness.attacks.search import found, square_moves
from harness.training.loop import train
from results.layout import JobFiles

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
METHODS = ["natural", "pgd-at", "trades", "mart", "pgd-at-ancra", "trades-ancra", "mart-ancra"]


@pytest.mark.parametrize(
    ("method", "model"), [(name, "small-cnn") for name in METHODS] + [("trades-ancra", "resnet18")]
)
def test_every_method_trains_here_in_bfloat16(method, model, train_spec, digits, tmp_path):
    """One epoch of one step: data, augmentation, generators, attack, loss and validation meet on the device."""
    quick = [f"{method}.attack_steps=2"] if model == "resnet18" else []  # bfloat16 is slow on many a CPU
    spec = train_spec(method, settings=quick, epochs=1, examples=40, precision="bfloat16", augmentation="crop-flip")
    spec = spec.model_copy(update={"model": model, "protocol": spec.protocol.model_copy(update={"batch_size": 16})})
    train(spec, digits, DEVICE, JobFiles(tmp_path), lambda _: None)
    (entry,) = history_of(tmp_path)
    assert math.isfinite(entry["loss"])
    assert all(math.isfinite(term) for term in entry["terms"].values())
    assert (entry["peak_memory"] or 0) > 0 or DEVICE.type == "cpu"


@pytest.mark.skipif(DEVICE.type == "cpu", reason="PyTorch reports waiting for a GPU alone")
@pytest.mark.parametrize("method", METHODS)
def test_a_step_never_waits_for_the_gpu(method):
    """As ``test_synchronisation.py`` shows on any device, and here by what PyTorch itself calls synchronising."""
    trained = methods[method]()
    model = trained.build_model("small-cnn", 10, Inputs(3, 32, (0.5,) * 3, (0.25,) * 3)).to(DEVICE).train()
    x, y = torch.rand(16, 3, 32, 32, device=DEVICE), torch.arange(16, device=DEVICE) % 10
    step = Step(1, torch.Generator(DEVICE).manual_seed(0))
    try:
        torch.cuda.set_sync_debug_mode("error")
        trained.loss(model, x, y, harness.Threat("Linf", 8 / 255, 0.007), step).total.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(DEVICE.type == "cpu", reason="PyTorch reports waiting for a GPU alone")
@pytest.mark.parametrize("norm", ["Linf", "L2"])
@pytest.mark.parametrize("name", SEARCHES)
def test_no_step_of_a_search_waits_for_the_gpu(name, norm, monkeypatch):
    """As ``tests/attacks/test_synchronisation.py`` shows on any device; in one long block of steps."""
    for module in (found, square_moves):
        monkeypatch.setattr(module, "block", lambda _: 1000)
    try:
        watch(name, norm, DEVICE, partial(torch.cuda.set_sync_debug_mode, "error"))
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("attack", ["fgsm", "pgd-20", "cw", "autoattack", "adaptive"])
def test_every_attack_runs_here_and_tells_the_truth(attack):
    """The model comes back to where it was."""
    model = Threshold()
    result = harness.evaluate(
        model, constant_images(MARGINS), LABELS, threat=harness.Threat("Linf", 0.1), attacks=[attack], device=DEVICE
    )
    assert result.verdicts[attack].tolist() == [False, False, True, True, True, False]
    assert next(model.parameters()).device.type == "cpu"
