"""What a submission says of an evaluated model, and which models it refuses; from job directories, without torch."""

import ast
import json
import re

import numpy as np
import pytest
from reports_example import HOSTILE
from results_jobs import train_spec, write_diagnose, write_evaluate, write_train

from reports.submission import Made, Paper, measured, refusals, written
from results.errors import HarnessError

EIGHT = {"norm": "Linf", "eps": 8 / 255, "step_size": 0.007}
MADE = Made("ResNet-18 with reverse attention", False, 0.2767)
WORDS = {
    "name": "Zhou2023Enhancing",
    "title": "Enhancing Robust Representation",
    "url": "https://arxiv.org/abs/2310.03358",
    "authors": "Ada Lovelace, Alan Turing",
    "venue": "arXiv, Oct 2023",
}
STRINGS = ("link", "name", "authors", "dataset", "venue", "architecture", "eps", "clean_acc", "reported")


def workspace(jobs, store, *, dataset="cifar100", threat=EIGHT, examples=10_000, verdict="trusted", **attacks):
    """A training with evaluations that leave the first so many examples right, under each attack."""
    correct = {"natural": 6025, "pgd_20": 3300, "autoattack": 2767, "adaptive": 2767} | attacks
    spec = train_spec() | {"dataset": {"name": dataset, "fingerprint": "ab12", "validation_fraction": 0.1}}
    write_train(jobs, "a", dataset=spec["dataset"])
    for attack, number in correct.items():
        if number is not None:
            right, shown = np.arange(examples) < number, attack.replace("_", "-")
            details = {"broken_by": {"apgd-ce": list(range(number, 6025))}} if attack == "autoattack" else {}
            write_evaluate(jobs, shown, right, attack=shown, threat=threat, spec=spec, details=details)
    messages = [] if verdict == "trusted" else ["AutoAttack overestimates"]
    evaluations = [attack.replace("_", "-") for attack in correct]
    write_diagnose(jobs, "d", verdict, *messages, evaluations=evaluations, threat=threat)
    store.ingest_all(jobs)
    return store


def found(store, dataset="cifar100", **choice):
    return measured(store, "trades", **{"dataset": dataset, "seed": 0, "checkpoint": "best"} | choice)


@pytest.fixture
def full(tmp_path, store):
    return found(workspace(tmp_path / "jobs", store))


def row_of(files):
    return json.loads(next(text for path, text in files.items() if path.startswith("model_info/")))


def test_a_full_evaluation_is_not_refused_and_its_row_has_the_leaderboards_forms(full):
    assert refusals(full) == []
    files = written(full, Paper(**WORDS), MADE, [])
    row = json.loads(files["model_info/cifar100/Linf/Zhou2023Enhancing.json"])
    assert all(isinstance(row[key], str) for key in STRINGS)
    assert (row["eps"], row["clean_acc"], row["autoattack_acc"], row["reported"]) == (
        "8/255",
        "60.25",
        "27.67",
        "27.67",
    )
    assert (row["additional_data"], row["number_forward_passes"]) == (False, 1)
    assert not {"external", "unreliable", "footnote"} & row.keys()
    assert "external_evaluation.md" not in files
    assert "accuracy after apgd-ce: 27.67%\n  accuracy under autoattack: 27.67%" in files["evaluation.log"]
    assert "raft" not in files["README.md"] + files["new_model.md"]


def test_a_masked_row_is_unreliable_and_sorted_by_its_worst_case(tmp_path, store):
    masked = found(workspace(tmp_path / "jobs", store, verdict="masked", adaptive=2001))
    assert refusals(masked) == []
    files = written(masked, Paper(**WORDS, reported=35.8), MADE, [])
    row = row_of(files)
    assert (row["unreliable"], row["external"], row["autoattack_acc"], row["reported"]) == (
        True,
        "20.01",
        "27.67",
        "35.80",
    )
    assert "**Robust accuracy:** 27.67" in files["external_evaluation.md"]  # that of the images, tried again
    assert "AutoAttack overestimates" in files["trust.md"]
    assert "**Verdict: masked.**" in files["trust.md"]


def test_the_lower_of_both_autoattacks_counts_and_what_another_attack_broke_is_external(tmp_path, store):
    honest = found(workspace(tmp_path / "jobs", store, autoattack_reference=2760, adaptive=2750))
    files = written(honest, Paper(**WORDS), MADE, [])
    row = row_of(files)
    assert (row["autoattack_acc"], row["external"], row["reported"]) == ("27.60", "27.50", "27.50")
    assert "unreliable" not in row
    assert "external_evaluation.md" in files


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "digits"}, "no board for digits: train on cifar10 or cifar100"),
        (
            {"threat": EIGHT | {"eps": 4 / 255}},
            "no board for cifar100 at Linf 4/255: harness run --eval-eps .* Linf 8/255",
        ),
        ({"threat": EIGHT | {"norm": "L2", "eps": 0.5}}, "no board for cifar100 at L2 0.5"),
        ({"examples": 9_999}, "evaluated on 9,999 test examples of 10,000: run again without --test-examples"),
        ({"autoattack": None, "autoattack_fast": 2800}, "all of AutoAttack was not run, .*autoattack-fast"),
        ({"natural": 90, "autoattack": 9}, "45.00 % of the first 200 .*more than 45 %"),
    ],
)
def test_what_the_leaderboard_refuses_is_refused_with_the_remedy(changes, reason, tmp_path, store):
    refused = found(workspace(tmp_path / "jobs", store, **changes), dataset=changes.get("dataset", "cifar100"))
    (said,) = refusals(refused)
    assert re.search(reason, said)
    files = written(refused, Paper(**WORDS), MADE, [said])
    start = said.split(":")[0]
    assert all(start in files[name] for name in ("README.md", "new_model.md"))


@pytest.mark.parametrize(
    ("code", "severity", "reason"),
    [
        ("randomised-forward", "suspect", "draws at random"),
        ("depends-on-batch", "suspect", "hangs on the others in its batch"),
        ("dynamic-forward", "suspect", "no optimisation loop at inference"),
        ("zero-gradient", "masked", "no gradient to follow"),
        ("zero-gradient", "suspect", None),
        ("unstable-loss", "masked", None),
    ],
)
def test_a_finding_that_the_leaderboard_forbids_refuses_the_model(code, severity, reason, tmp_path, store):
    finding = {"code": code, "severity": severity, "message": "it is so", "evidence": "seen 7", "advice": "look"}
    workspace(tmp_path / "jobs", store)
    write_diagnose(tmp_path / "jobs", "later", severity, evaluations=["natural", "pgd-20", "autoattack", "adaptive"],
                   threat=EIGHT, findings=[finding], finished="2027-01-01T00:00:00+00:00")  # fmt: skip
    store.ingest_all(tmp_path / "jobs")
    said = refusals(found(store))
    assert len(said) == (reason is not None)
    assert all(reason in text and "seen 7" in text for text in said)


def test_what_was_not_diagnosed_is_refused(tmp_path, store):
    spec = train_spec() | {"dataset": {"name": "cifar100", "fingerprint": "ab12", "validation_fraction": 0.1}}
    for attack in ("natural", "autoattack"):
        write_evaluate(tmp_path / "jobs", attack, np.ones(10_000, bool), attack=attack, threat=EIGHT, spec=spec)
    store.ingest_all(tmp_path / "jobs")
    (said,) = refusals(found(store))
    assert "the same harness run again makes the diagnosis" in said


def test_of_several_threats_the_one_with_a_board_is_taken_unless_another_is_named(tmp_path, store):
    jobs = tmp_path / "jobs"
    workspace(jobs, store)
    for train, eps, model in (("a", 4 / 255, "small-cnn"), ("b", 8 / 255, "resnet18")):
        spec = train_spec(model=model) | {
            "dataset": {"name": "cifar100", "fingerprint": "ab12", "validation_fraction": 0.1}
        }
        for attack in ("natural", "fgsm"):
            name = f"{attack}-{train}"
            write_evaluate(jobs, name, [True], attack=attack, train=train, threat=EIGHT | {"eps": eps}, spec=spec)
    store.ingest_all(jobs)
    with pytest.raises(HarnessError, match=r"stands for 2 models: resnet18, Linf 8/255.*small-cnn.*--model"):
        found(store)
    assert found(store, model="small-cnn").examples == 10_000
    assert found(store, model="small-cnn", threat="Linf 4/255").examples == 1
    with pytest.raises(HarnessError, match=r"unknown seed of trades '3'.*Known: 0"):
        found(store, seed=3)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"name": "zhou2023enhancing"}, "NameYearFirstWord"),
        ({"name": "Zhou2023Enhancing')"}, "NameYearFirstWord"),
        ({"name": "Zhou2023Enhancing-RN18"}, "Zhou2023Enhancing_RN18"),
        ({"url": "javascript:alert(1)"}, "is a link"),
        ({"url": 'https://a.b/"onclick'}, "is a link"),
        ({"venue": "ICML"}, "ends in a year"),
        ({"venue": "arXiv 2310.03358"}, "ends in a year"),
        ({"authors": "Ada Lovelace and Alan Turing"}, "separated by commas"),
        ({"title": "<script>alert(1)</script>"}, "does not escape"),
        ({"title": "two\nlines"}, "does not escape"),
        ({"title": " "}, "without spaces around"),
        ({"reported": 3581.0}, "from 0 to 100"),
    ],
)
def test_words_that_the_leaderboard_would_take_for_something_else_are_refused(wrong, right):
    with pytest.raises(HarnessError, match=right):
        Paper(**WORDS | wrong)


def test_words_of_others_stay_words(tmp_path, store):
    """A data set and a title may be named anything: Python still parses, and Markdown shows them as they are."""
    hostile = " ".join(HOSTILE)
    refused = found(workspace(tmp_path / "jobs", store, dataset=hostile), dataset=hostile)
    files = written(refused, Paper(**WORDS | {"title": "`x` *y* [z](w) | $v$"}), MADE, refusals(refused))
    assert "<script>" not in "".join(files[name] for name in ("README.md", "new_model.md", "zoo_entry.py"))
    assert r"\`x\` \*y\* \[z\](w) \| \$v\$" in files["new_model.md"]
    assert all(".." not in path and not path.startswith("/") for path in files)
    for name, text in files.items():
        if name.endswith(".py"):
            entry = text.replace("    (", "entry = (").replace("}),", "})")
            ast.parse(entry if name == "zoo_entry.py" else text)
