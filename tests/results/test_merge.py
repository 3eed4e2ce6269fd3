"""Two labs' results become one; and what is wrong between a database and its job directories is found."""

import json
import shutil
from itertools import product

import pytest
from pandas.testing import assert_frame_equal
from results_jobs import assert_same, jobs, train_spec, write_diagnose, write_evaluate, write_failure, write_workspace

from results.check import problems
from results.checksums import sealed
from results.errors import HarnessError
from results.layout import JobFiles, WorkspaceFiles
from results.merge import merge
from results.queries import long_form
from results.store import Store


def lab(root, *seeds):
    """A workspace with its database: three trainings of each seed."""
    files = WorkspaceFiles(root)
    files.jobs.mkdir(parents=True)
    for seed in seeds:
        write_workspace(files.jobs, seed)
        for training, name in product(files.jobs.glob("train-*"), ("best", "last")):
            JobFiles(training).weights(name).write_bytes(b"weights")
    Store.open(files.database).ingest_all(files.jobs)
    return files


@pytest.fixture
def labs(tmp_path):
    """Two labs that have the trainings of seed 1 in common."""
    return lab(tmp_path / "ours", 0, 1), lab(tmp_path / "theirs", 1, 2)


def opened(files):
    return Store.open(files.database)


def found(files):
    return [problem.what for problem in problems(opened(files), files)]


@pytest.mark.parametrize("form", ["workspace", "file", "url"])
def test_two_labs_results_are_their_union_and_the_other_lab_is_only_read(labs, tmp_path, form):
    ours, theirs = labs
    before = {path: path.read_bytes() for path in theirs.root.rglob("*") if path.is_file()}
    other = {"workspace": theirs.root, "file": theirs.database, "url": f"sqlite:///{theirs.database}"}[form]
    merged = merge(str(other), opened(ours), ours)
    assert (len(merged.joined), merged.same, merged.conflicts, merged.broken) == (12, 12, (), ())
    assert_same(opened(ours), opened(lab(tmp_path / "both", 0, 1, 2)))
    assert {path: path.read_bytes() for path in before} == before
    again = merge(str(other), opened(ours), ours)
    assert (again.joined, again.same) == ((), 24)
    assert found(ours) == ([] if form == "workspace" else [f"{i} is done in the database alone" for i in merged.joined])


def test_what_has_another_outcome_is_named_and_left_out_with_all_that_rests_on_it(labs):
    """Attacks on the weights of another training of the same name are no rows of ours; nothing of ours changes."""
    ours, theirs = labs
    history = theirs.job("train-1-0").history
    history.write_text(history.read_text().replace("0.9", "0.8"))
    write_evaluate(theirs.jobs, "new", [True, False], train="1-0")
    write_diagnose(theirs.jobs, "new", "trusted", train="1-0", evaluations=["new"])
    write_evaluate(theirs.jobs, "1-1-fgsm", [True] * 101, attack="fgsm", train="1-1", spec=train_spec("mart", seed=1))
    write_diagnose(theirs.jobs, "judged", "trusted", train="1-1", evaluations=["1-1-fgsm"])
    before = long_form(opened(ours))
    merged = merge(str(theirs.root), opened(ours), ours)
    correct = before[before.evaluate_id == "evaluate-1-1-fgsm"].accuracy.item() * 101
    assert merged.conflicts == (
        "diagnose-judged: rests on evaluate-1-1-fgsm, which is another here",
        "diagnose-new: rests on train-1-0, which is another here",
        f"evaluate-1-1-fgsm: correct: {correct:.0f} here, 101 there",
        "evaluate-new: rests on train-1-0, which is another here",
        "train-1-0: validation_natural of epoch 1: 0.9 here, 0.8 there",
    )
    assert (len(merged.joined), merged.same) == (12, 10)
    after = long_form(opened(ours))
    assert_frame_equal(after[after.train_id.isin(before.train_id)].reset_index(drop=True), before)
    assert not ours.job("evaluate-new").directory.exists()


def test_a_job_that_failed_here_is_done_there(tmp_path):
    """And one that failed there is none of ours."""
    ours, theirs = lab(tmp_path / "ours"), lab(tmp_path / "theirs", 0)
    write_failure(ours.jobs / "train-0-0", train_spec(seed=0))
    write_failure(theirs.jobs / "train-f", train_spec(seed=7))
    opened(ours).ingest_all(ours.jobs)
    assert len(merge(str(theirs.root), opened(ours), ours).joined) == 12
    assert set(jobs(opened(ours)).state) == {"done"}
    assert found(ours) == []


def test_a_broken_directory_of_the_other_lab_is_named_and_stops_nothing(labs):
    ours, theirs = labs
    theirs.job("evaluate-2-0-fgsm").verdicts.write_bytes(b"")
    merged = merge(str(theirs.root), opened(ours), ours)
    assert len(merged.joined) == 11
    assert "evaluate-2-0-fgsm/verdicts.npy is damaged" in merged.broken[0]


@pytest.mark.parametrize(("name", "said"), [("nowhere", "there is nothing at"), ("notes.txt", "is no workspace")])
def test_what_is_neither_a_workspace_nor_a_database_is_refused(labs, tmp_path, name, said):
    (tmp_path / "notes.txt").write_text("not a database " * 100)
    with pytest.raises(HarnessError, match=said):
        merge(str(tmp_path / name), opened(labs[0]), labs[0])


def seal(files):
    files.result.write_text(sealed(json.loads(files.result.read_text()), files))


def damage(files):
    """Each kind of trouble once, and what is to be said of it."""
    training = files.job("train-0-0")
    seal(training)
    training.weights("best").write_bytes(b"weightz")
    training.weights("last").unlink()
    shutil.rmtree(files.job("train-0-1").directory)
    opened(files).remove(["evaluate-0-0-natural", "train-0-2"])
    write_evaluate(files.jobs, "0-0-fgsm", [True] * 101, attack="fgsm", train="0-0", spec=train_spec())
    files.job("evaluate-0-0-pgd-20").verdicts.write_bytes(b"")
    shutil.rmtree(files.job("train-0-2").directory)
    return [
        ("evaluate-0-0-pgd-20/verdicts.npy is damaged", "move that job's result.json away"),
        ("evaluate-0-0-fgsm is another in the database (here) than in its directory (there): correct: ", "rebuild"),
        ("evaluate-0-0-natural is done, and not in the database", "`harness results rebuild` stores it"),
        ("train-0-1 is done in the database alone", "`harness results merge` the workspace"),
        ("train-0-0/best.safetensors is damaged: it has another checksum", "trains it again"),
        ("train-0-0/last.safetensors is missing", "trains it again"),
        ("train-0-2 is not there, but 3 evaluations of it are", "`harness rm train-0-2`"),
    ]


def test_every_kind_of_trouble_is_found_with_what_to_do(tmp_path):
    files = lab(tmp_path, 0)
    assert found(files) == []
    expected = damage(files)
    seen = list(problems(opened(files), files))
    assert len(seen) == len(expected)
    for problem, (what, remedy) in zip(seen, expected, strict=True):
        assert what in problem.what
        assert remedy in problem.remedy
    assert not [*tmp_path.glob(".harness.db-*")]
