"""RobustBench, as PyPI ships it, works through the bridge."""

import logging
import sys
import warnings

import pytest
import torch
from oracles import linear_case, run

from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.verify import still_correct
from harness.library import robustbench_compat

THREAT = Threat("Linf", 8 / 255)


@pytest.fixture(scope="module")
def case():
    """A linear model on CIFAR-shaped images: every second one of four can be flipped, and no other."""
    return linear_case(THREAT, 10, shape=(3, 32, 32), count=4)


def test_it_imports_without_a_warning_and_leaves_no_alias_behind():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        robustbench = robustbench_compat.load()
    assert caught == []
    assert robustbench.utils.load_model.__module__ == "robustbench.utils"
    assert "autoattack" not in sys.modules
    assert robustbench_compat.load() is robustbench


@pytest.mark.slow
def test_its_benchmark_measures_the_accuracy_that_we_measure(case, monkeypatch, tmp_path):
    """``robustbench.benchmark`` in full, with AutoAttack; only the images are ours in place of CIFAR-10's."""
    robustbench = robustbench_compat.load()
    monkeypatch.setattr("robustbench.eval.load_clean_dataset", lambda *_: (case.x, case.y))
    log = tmp_path / "log.txt"
    clean, robust = robustbench.benchmark(
        case.model.eval(), n_examples=4, dataset="cifar10", threat_model="Linf", eps=THREAT.eps, log_path=str(log)
    )
    ours = run(resolve("autoattack"), case.model, case.x, case.y, THREAT)
    assert clean == 1.0
    assert robust == float(case.robust.float().mean()) == 0.5
    assert robust == float(still_correct(case.model, case.x, case.y, ours, THREAT).float().mean())
    assert "robust accuracy after SQUARE: 50.00%" in log.read_text()
    assert logging.getLogger("auto-attack").handlers == []


def test_a_saved_state_is_refused_since_it_could_not_be_resumed(case, tmp_path):
    adversary = robustbench_compat.AutoAttack(case.model, eps=THREAT.eps, device="cpu")
    with pytest.raises(HarnessError, match=r"leave aa_state_path out, got .*state"):
        adversary.run_standard_evaluation(case.x, case.y, state_path=tmp_path / "state")


def test_without_a_gpu_the_original_default_device_is_the_cpu(case, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert robustbench_compat.AutoAttack(case.model, "Linf", THREAT.eps).device == "cpu"


@pytest.mark.parametrize(
    ("module", "remedy"),
    [("pkg_resources", "pip install 'setuptools<81'"), ("robustbench", "pip install 'robustbench>=")],
)
def test_a_missing_module_is_named_with_its_remedy(module, remedy, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(HarnessError, match=f"RobustBench needs '{module}'.*{remedy}"):
        robustbench_compat.load()
