"""RobustBench, as PyPI ships it, works through the bridge."""

import sys
import warnings

import pytest
import torch
from oracles import linear_case

from harness.api.errors import HarnessError
from harness.api.threat import Threat
from harness.library import robustbench_compat

THREAT = Threat("Linf", 8 / 255)


@pytest.fixture(scope="module")
def case():
    return linear_case(THREAT, 10, count=4)


def test_it_imports_without_a_warning_and_leaves_no_alias_behind():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        robustbench = robustbench_compat.load()
    assert caught == []
    assert robustbench.utils.load_model.__module__ == "robustbench.utils"
    assert "autoattack" not in sys.modules
    assert robustbench_compat.load() is robustbench


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
