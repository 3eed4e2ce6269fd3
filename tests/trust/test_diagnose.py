"""A diagnosis: probes and results of one model put together, as a job and in memory."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from oracles import Linear, linear_case
from torch import nn

import harness
from harness.api.specs import DiagnoseSpec, ThreatSpec
from harness.api.threat import Threat
from harness.evaluation.job import checkpoint_model
from harness.evaluation.judge import Examples
from harness.evaluation.judgement import Judgement
from harness.training.loop import train
from harness.trust.diagnose import diagnose_job, diagnosed
from harness.trust.probes import PROBE_EXAMPLES, Probes
from results.layout import JobFiles

THREAT = Threat("Linf", 0.05)


def judgement(right, **values):
    return Judgement(torch.tensor(right), **values)


def findings(judgements, limits=None, model=None):
    case = linear_case(THREAT, 4)
    found, probes = diagnosed(
        model or case.model, Examples(case.x, case.y), THREAT, judgements, limits or {}, batch_size=5, seed=0
    )
    assert probes.attacked == (12 if model is None else probes.attacked)
    return {finding.code: finding for finding in found}


ALL = judgement([True] * 12)
SIX = judgement([True, False] * 6)
STRONG = {"natural": ALL, "pgd-20": SIX, "autoattack": SIX, "adaptive": SIX}


def test_a_linear_model_with_strong_attacks_is_trusted():
    assert findings(STRONG) == {}


def test_everything_that_attacks_left_behind_reaches_the_checks():
    """By hand, of twelve examples: a gap of six, three broken by Square, four claims that were not confirmed."""
    autoattack = judgement([True] * 12, broken_by={"apgd-ce": [], "square": [0, 1, 2]})
    found = findings(STRONG | {"autoattack": autoattack, "adaptive": judgement([True, False] * 6, lost=4)})
    assert set(found) == {"adaptive-below-autoattack", "black-box-wins", "unconfirmed-success"}
    assert "autoattack 100.00, adaptive 50.00" in found["adaptive-below-autoattack"].evidence
    assert "square broke 3 of 12" in found["black-box-wins"].evidence
    assert "adaptive claims 4 more" in found["unconfirmed-success"].evidence


def test_limits_are_the_users():
    gap = STRONG | {"adaptive": judgement([True, False] * 3 + [False] * 6)}  # 25 points, chance is 16.7
    assert findings(gap)["adaptive-below-autoattack"].severity == "masked"
    limits = {"adaptive-below-autoattack.masked": 30.0, "adaptive-below-autoattack.suspect": 20.0}
    assert findings(gap, limits) == {}


def test_the_model_is_probed():
    case = linear_case(THREAT, 4)
    softmax = nn.Sequential(case.model, nn.Softmax(1))
    assert set(findings(STRONG, model=softmax)) >= {"softmax-output"}


def write_evaluation(jobs, name, attack, right, **details):
    directory = jobs / name
    directory.mkdir()
    (directory / "spec.json").write_text(json.dumps({"attack": {"name": attack}}))
    result = {"details": {"broken_by": {}, "lost": 0} | details}
    (directory / "result.json").write_text(json.dumps(result))
    np.save(directory / "verdicts.npy", np.array(right))
    return name


@pytest.fixture
def trained(train_spec, digits, tmp_path):
    spec = train_spec("natural", epochs=1)
    (tmp_path / "train-a").mkdir()
    train(spec, digits, torch.device("cpu"), JobFiles(tmp_path / "train-a"), lambda _: None)
    (tmp_path / "train-a" / "result.json").write_text("{}")
    return spec


def test_the_job_reads_what_its_evaluations_wrote_and_probes_the_checkpoint(trained, digits, tmp_path):
    """The same findings and probes as in memory, from files alone; of two runs of one attack the stronger counts."""
    n = 40
    strong, weak = np.arange(n) < 4, np.arange(n) < 20
    names = [
        write_evaluation(tmp_path, "evaluate-1", "natural", np.ones(n, dtype=bool)),
        write_evaluation(tmp_path, "evaluate-2", "autoattack", weak, broken_by={"apgd-ce": list(range(20, n))}),
        write_evaluation(tmp_path, "evaluate-3", "adaptive", weak),
        write_evaluation(tmp_path, "evaluate-4", "adaptive", strong),
    ]
    spec = DiagnoseSpec(
        train=trained,
        train_id="train-a",
        checkpoint="last",
        threat=ThreatSpec(**asdict(THREAT)),
        test_examples=n,
        seed=0,
        evaluations=tuple(names),
    )
    (tmp_path / "diagnose-x").mkdir()
    outcome = diagnose_job(spec, digits, torch.device("cpu"), JobFiles(tmp_path / "diagnose-x"))
    json.dumps(outcome, allow_nan=False)
    assert outcome["verdict"] == "masked"
    by_code = {finding["code"]: finding for finding in outcome["findings"]}
    assert "autoattack 50.00, adaptive 10.00" in by_code["adaptive-below-autoattack"]["evidence"]

    model = checkpoint_model(trained, JobFiles(tmp_path / "train-a"), "last", digits)
    x, y = torch.from_numpy(digits.test.images[:n].copy()), torch.from_numpy(digits.test.labels[:n].copy())
    right = {
        "natural": judgement([True] * n),
        "autoattack": judgement(weak.tolist(), broken_by={"apgd-ce": list(range(20, n))}),
        "adaptive": judgement(strong.tolist()),
    }
    found, probes = diagnosed(model, Examples(x, y), THREAT, right, {}, batch_size=500, seed=0)
    assert outcome["findings"] == [asdict(finding) for finding in found]
    assert Probes(**outcome["probes"]) == probes
    assert probes.examples == n


def test_probes_look_at_no_more_than_their_share():
    case = linear_case(Threat("Linf", 0.05), 4, count=PROBE_EXAMPLES + 50)
    everything = judgement([True] * len(case.y))
    _, probes = diagnosed(
        case.model, Examples(case.x, case.y), THREAT, {"natural": everything}, {}, batch_size=500, seed=0
    )
    assert probes.examples == PROBE_EXAMPLES


def test_the_library_names_what_broke_each_example_and_takes_limits():
    case = linear_case(THREAT, 4)
    result = harness.evaluate(
        case.model, case.x, case.y, threat=THREAT, attacks=["fgsm", "adaptive"], limits={"weak-evaluation.suspect": 1}
    )
    assert result.verdict == "trusted", result.findings
    assert set(result.broken_by) == {"adaptive"}
    assert result.broken_by["adaptive"] == [None if robust else "cross-entropy on model" for robust in case.robust]
    with pytest.raises(harness.HarnessError, match=r"unknown limit 'weak-evaluation\.suspekt'\. Did you mean"):
        harness.evaluate(case.model, case.x, case.y, threat=THREAT, attacks=[], limits={"weak-evaluation.suspekt": 1})


def test_a_limit_that_does_not_exist_is_refused_before_any_attack():
    case = linear_case(THREAT, 4)

    class Untouchable(Linear):
        def forward(self, x):
            raise AssertionError("attacked")

    with pytest.raises(harness.HarnessError, match="unknown limit"):
        harness.evaluate(
            Untouchable(case.model.weight, case.model.bias), case.x, case.y, threat=THREAT, limits={"mood.masked": 1}
        )
