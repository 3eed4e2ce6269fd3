"""From the user's words to a graph of jobs: names, settings, identities."""

import pytest

from harness.api.errors import HarnessError, UnknownName
from harness.api.specs import DiagnoseSpec, EvaluateSpec, TrainSpec, job_id, parse_spec
from harness.evaluation.job import named
from harness.plan import graph
from harness.plan.graph import Request, plan, select_methods
from harness.plugins import load_plugins

SEVEN = ["natural", "pgd-at", "trades", "mart", "pgd-at-ancra", "trades-ancra", "mart-ancra"]


@pytest.fixture
def jobs_of(digits):
    return lambda **changes: plan(Request(**{"methods": ["trades"], "data": digits} | changes))


def test_all_is_the_seven_methods_of_the_tables_and_ablations_the_other_six(digits):
    assert select_methods(["all"]) == SEVEN
    ablations = select_methods(["ablations"])
    assert sorted(ablations) == sorted(f"{base}-{part}" for base in SEVEN[1:4] for part in ("anc", "ra"))
    assert select_methods(["all", "ablations", "trades"]) == SEVEN + ablations


def test_every_checkpoint_meets_every_attack_after_training(jobs_of):
    jobs = jobs_of(attacks=["fgsm", "cw"], seeds=[0, 1])
    trains = [job for job in jobs if isinstance(job.spec, TrainSpec)]
    evaluations = [job for job in jobs if isinstance(job.spec, EvaluateSpec)]
    assert len(trains) == 2
    assert len(evaluations) == 2 * 2 * 3  # seeds, checkpoints, and natural beside the two attacks
    assert all(job.needs == (job.spec.train_id,) for job in evaluations)
    assert {job.spec.attack.name for job in evaluations} == {"natural", "fgsm", "cw"}


def test_every_checkpoint_is_diagnosed_after_its_evaluations(jobs_of):
    jobs = jobs_of(attacks=["fgsm"], seeds=[0, 1])
    diagnoses = [job for job in jobs if isinstance(job.spec, DiagnoseSpec)]
    assert len(diagnoses) == 2 * 2
    for job in diagnoses:
        own = {
            each.id
            for each in jobs
            if isinstance(each.spec, EvaluateSpec)
            and (each.spec.train_id, each.spec.checkpoint) == (job.spec.train_id, job.spec.checkpoint)
        }
        assert set(job.spec.evaluations) == own
        assert set(job.needs) == {job.spec.train_id, *own}
        assert len(own) == 2


def test_a_diagnosis_takes_in_what_was_evaluated_before_on_the_same_examples(digits):
    """AutoAttack yesterday, adaptive today: one verdict over both; a trial on fewer examples has no part in it."""
    ask = {"methods": ["trades"], "data": digits, "checkpoints": ["best"]}
    yesterday = [job.spec for job in plan(Request(attacks=["autoattack"], **ask))]
    trial = [job.spec for job in plan(Request(attacks=["cw"], test_examples=50, **ask))]
    other = [job.spec for job in plan(Request(attacks=["cw"], seeds=[1], **ask))]
    earlier = [spec for spec in (*yesterday, *trial, *other) if isinstance(spec, EvaluateSpec)]
    jobs = plan(Request(attacks=["adaptive"], **ask), earlier)
    (diagnosis,) = [job for job in jobs if isinstance(job.spec, DiagnoseSpec)]
    planned = {job.id for job in jobs if isinstance(job.spec, EvaluateSpec)}
    assert set(diagnosis.spec.evaluations) == planned | {job_id(spec) for spec in yesterday[1:3]}
    assert set(diagnosis.needs) == planned | {diagnosis.spec.train_id}


def test_siblings_share_a_base_and_attack_each_other_where_an_attack_wants_them(digits):
    """Variants of one objective, of one seed; nothing else, and no job for attacks that look at the model alone."""
    methods = ["pgd-at", "trades", "pgd-at-ancra", "pgd-at-ra", "natural"]
    jobs = plan(Request(methods=methods, data=digits, attacks=["fgsm", "adaptive"], checkpoints=["best"], seeds=[0, 1]))
    trains = {job.id: job.spec for job in jobs if isinstance(job.spec, TrainSpec)}
    expected = {
        "pgd-at": {"pgd-at-ancra", "pgd-at-ra"},
        "pgd-at-ancra": {"pgd-at", "pgd-at-ra"},
        "pgd-at-ra": {"pgd-at", "pgd-at-ancra"},
        "trades": set(),
        "natural": set(),
    }
    for job in jobs:
        if isinstance(job.spec, EvaluateSpec):
            siblings = {each.train.method.name for each in job.spec.siblings}
            assert siblings == (expected[job.spec.train.method.name] if job.spec.attack.name == "adaptive" else set())
            assert all(trains[each.train_id].seed == job.spec.seed for each in job.spec.siblings)
            assert set(job.needs) == {job.spec.train_id, *(each.train_id for each in job.spec.siblings)}


def test_thresholds_are_settings_of_the_diagnosis_alone(jobs_of):
    key = "fgsm-beats-pgd.masked"
    changed = jobs_of(settings=[f"diagnostics.{key}=5"])
    for before, after in zip(jobs_of(), changed, strict=True):
        if isinstance(after.spec, DiagnoseSpec):
            assert after.spec.limits == {key: 5.0}
        else:
            assert after.id == before.id
    with pytest.raises(UnknownName, match=r"unknown setting of diagnostics 'fgsm-beats-pgd\.mask'. Did you mean"):
        jobs_of(settings=["diagnostics.fgsm-beats-pgd.mask=5"])


def test_the_identity_is_the_whole_spec_and_nothing_else(jobs_of):
    """The same words give the same ids; any change of what is computed gives another."""
    base = jobs_of()[0].id
    assert jobs_of()[0].id == base
    assert jobs_of(attacks=["fgsm"])[0].id == base  # training does not depend on the attacks that follow
    for change in (
        {"seeds": [1]},
        {"epochs": 3},
        {"eps": 0.1},
        {"train_examples": 100},
        {"settings": ["trades.beta=3"]},
        {"settings": ["protocol.lr=0.2"]},
        {"model": "resnet18"},
    ):
        assert jobs_of(**change)[0].id != base, change


def test_asking_for_all_examples_is_asking_for_nothing_special(jobs_of, digits):
    assert jobs_of(train_examples=len(digits.train))[0].id == jobs_of()[0].id


def test_a_spec_survives_its_file(jobs_of):
    for job in jobs_of():
        again = parse_spec(job.spec.model_dump_json())
        assert again == job.spec
        assert job_id(again) == job.id


def test_a_setting_reaches_the_method_and_the_protocol(jobs_of):
    spec = jobs_of(settings=["trades.beta=3", "protocol.milestones=[0.5]", "protocol.schedule=cosine"])[0].spec
    assert spec.method.params["beta"] == 3.0
    assert spec.protocol.milestones == (0.5,)
    assert spec.protocol.schedule == "cosine"


def test_another_radius_keeps_the_proportion_of_the_training_step(jobs_of):
    default, smaller = jobs_of()[0].spec.threat, jobs_of(eps=0.1)[0].spec.threat
    assert smaller.step_size / smaller.eps == pytest.approx(default.step_size / default.eps)


def test_several_values_are_several_trainings_of_the_methods_that_they_are_for(jobs_of):
    """Every combination, once; lists stay whole; jobs are told apart by what was varied."""
    ask = {"methods": ["trades", "pgd-at"], "attacks": [], "checkpoints": ["best"]}
    jobs = jobs_of(**ask, settings=["trades.beta=1,3,6", "protocol.lr=0.1,0.05", "protocol.milestones=[0.5,0.75]"])
    trains = [job for job in jobs if isinstance(job.spec, TrainSpec)]
    found = [(job.spec.method.name, job.spec.method.params.get("beta"), job.spec.protocol.lr) for job in trains]
    assert sorted(found[place] for place in range(8)) == sorted(
        [("trades", beta, lr) for beta in (1, 3, 6) for lr in (0.1, 0.05)]
        + [("pgd-at", None, 0.1), ("pgd-at", None, 0.05)]
    )
    assert len(trains) == 8
    assert {job.title for job in trains if job.spec.protocol.lr == 0.1} == {
        *(f"trades (beta={beta}, lr=0.1) seed 0" for beta in (1, 3, 6)),
        "pgd-at (lr=0.1) seed 0",
    }
    assert all(job.spec.protocol.milestones == (0.5, 0.75) for job in trains)
    one = jobs_of(**ask, settings=["trades.beta=3"])
    assert {job.id for job in one} < {job.id for job in jobs_of(**ask, settings=["trades.beta=1,3"])}


def test_siblings_share_the_protocol_and_each_has_a_name(digits):
    ask = {"methods": ["pgd-at", "pgd-at-ra"], "data": digits, "attacks": ["adaptive"], "checkpoints": ["best"]}
    jobs = plan(Request(**ask, settings=["protocol.lr=0.1,0.2", "pgd-at.attack_steps=5,10"]))
    adaptive = [job.spec for job in jobs if isinstance(job.spec, EvaluateSpec) and job.spec.attack.name == "adaptive"]
    assert [len(named(spec.siblings)) for spec in adaptive if spec.train.method.name == "pgd-at-ra"] == [2, 2]
    assert [list(named(spec.siblings)) for spec in adaptive if spec.train.method.name == "pgd-at"] == [
        ["pgd-at-ra"]
    ] * 4
    assert all(each.train.protocol == spec.train.protocol for spec in adaptive for each in spec.siblings)


def test_a_training_is_attacked_at_other_radii_without_training_again(jobs_of):
    """The training is the same job, its own radius gives the same evaluations, and each radius has its diagnosis."""
    usual = jobs_of(attacks=["fgsm"])
    jobs = jobs_of(attacks=["fgsm"], eval_eps=[0.05, 0.2])
    assert jobs[0] == usual[0]
    assert {job.id for job in usual} < {job.id for job in jobs}
    others = [job for job in jobs if job.id not in {each.id for each in usual}]
    assert {job.spec.threat.eps for job in others} == {0.05}
    assert {job.spec.train.threat.eps for job in others} == {0.2}
    assert {job.title for job in others} == {
        f"trades seed 0 {checkpoint} {what} at Linf 0.05"
        for checkpoint in ("best", "last")
        for what in ("natural", "fgsm", "diagnosis")
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": ["mart.beta=3"]}, "--set mart.beta=3 is for mart, which is not asked for: add it to --methods"),
        ({"eval_eps": [8.0]}, "must be at most 1"),
        ({"methods": ["tardes"]}, r"unknown method 'tardes'. Did you mean 'trades'\?"),
        ({"methods": []}, "no method was named"),
        ({"model": "resnet81"}, r"unknown model 'resnet81'. Did you mean 'resnet18'\?"),
        ({"checkpoints": ["lats"]}, r"unknown checkpoint 'lats'. Did you mean 'last'\?"),
        ({"settings": ["trades.bate=3"]}, r"unknown setting of trades 'bate'. Did you mean 'beta'\?"),
        ({"settings": ["trade.beta=3"]}, r"unknown owner of a --set 'trade'. Did you mean 'trades'\?"),
        ({"settings": ["beta=3"]}, r"--set takes OWNER.FIELD=VALUE .* got 'beta=3'"),
        ({"settings": ["trades.beta=much"]}, r"trades\.beta = 'much'|got 'much'"),
        ({"settings": ["protocol.epochs=0"]}, "protocol.epochs"),
        ({"epochs": 0}, r"protocol.epochs = 0: .* greater than or equal to 1"),
        ({"norm": "L2"}, r"--norm L2 needs --eps"),
        ({"eps": 8}, "must be at most 1"),
        ({"test_examples": 498}, r"--test-examples must be between 1 and 497, got 498"),
        ({"train_examples": 0}, r"--train-examples must be between 1 and 1300, got 0"),
        ({"train_examples": 1}, "holding out"),
        ({"checkpoints": []}, "no checkpoint was named"),
        ({"settings": ["protocol.milestones=[0.5"]}, r"protocol.milestones: this is no list .*, got '\[0.5'"),
        ({"attacks": ["pdg-20"]}, "pdg"),
    ],
)
def test_a_mistake_is_named_before_any_work(jobs_of, change, message):
    with pytest.raises(HarnessError, match=message):
        jobs_of(**change)


def test_an_unknown_name_is_a_harness_error():
    assert issubclass(UnknownName, HarnessError)


PLUGIN = """
from __future__ import annotations
from dataclasses import dataclass
from harness.api.method import Method, method

@method("edited-{n}")
@dataclass(frozen=True, kw_only=True)
class Edited(Method):
    summary = "{text}"
    group = "edited-ones"
    weight: float = 1.0

    def loss(self, model, x, y, threat, step):
        raise ValueError
"""


def test_an_edited_plugin_is_another_job(jobs_of, tmp_path):
    """The hash of a third party's source is part of the identity; the harness's own is versioned instead."""
    specs = []
    for text in ("first", "second"):
        file = tmp_path / text / "own.py"
        file.parent.mkdir()
        file.write_text(PLUGIN.format(n=text, text=text))
        load_plugins([file])
        settings = [f"edited-{text}.weight=1/4"]
        specs.append(jobs_of(methods=[f"edited-{text}"], settings=settings)[0].spec.method)
    assert specs[0].params == {"weight": 0.25}
    assert specs[0].code
    assert specs[0].code != specs[1].code
    assert jobs_of()[0].spec.method.code is None


def test_siblings_and_earlier_evaluations_are_not_compared_pair_by_pair(digits, monkeypatch):
    """What is looked at grows as the jobs do, with one seed as with four."""
    looks = []
    for name in ("_are_related", "_judged_with"):
        looked = getattr(graph, name)
        monkeypatch.setattr(graph, name, lambda *given, looked=looked: looks.append(given) or looked(*given))
    rates = []
    for seeds in (1, 4):
        request = Request(methods=["trades", "mart"], data=digits, seeds=range(seeds))
        jobs = plan(request)
        looks.clear()
        plan(request, [job.spec for job in jobs if job.spec.kind == "evaluate"])
        rates.append(len(looks) / len(jobs))
    assert rates[0] == rates[1]
