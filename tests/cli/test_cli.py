"""The command line as a user meets it: what each command prints and how it ends."""

import io
import json
import re
import subprocess
import sys

import pandas as pd
import pytest
import typer.main
from command_line import harness

from harness.cli import app
from harness.cli.application import completing

COMMANDS = ["run", "status", "results", "report", "compare", "methods", "models", "datasets", "attacks"]
COMMANDS += ["evaluate", "doctor", "show", "retry", "rm", "cancel", "clean", "submit", "export"]
FIRST_COLUMNS = "method,dataset,model,seed,checkpoint,attack,accuracy,ci_low,ci_high,examples"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace after a small real run, its command and its output."""
    workspace = tmp_path_factory.mktemp("runs")
    arguments = ["run", "--methods", "natural,pgd-at", "--dataset", "digits", "--epochs", 2, "--train-examples", 300]
    arguments += ["--test-examples", 30, "--attacks", "fgsm,pgd-20,adaptive:steps=10", "--workspace", workspace]
    arguments += ["--executor", "inline"]
    return workspace, arguments, harness(*arguments)


IMPORTS = """
import runpy, sys
sys.argv[0] = "harness"
try:
    runpy.run_module("harness", run_name="__main__")
finally:
    print("imported:", *sys.modules)
"""
HEAVY = {"torch", "numpy", "scipy", "pandas", "matplotlib", "sqlalchemy", "pydantic", "jinja2"}


def shown_and_imported(*arguments):
    """What ``python -m harness ARGUMENTS`` prints in a new process, and the modules that it imports."""
    command = [sys.executable, "-c", IMPORTS, *map(str, arguments)]
    shown, _, imported = subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition(
        "imported: "
    )
    return shown, imported.split()


def test_help_imports_nothing_that_takes_time():
    """``python -m harness --help`` in a new process: no more modules than typer's own help and some dozens of ours."""
    shown, modules = shown_and_imported("--help")
    assert "Usage: harness" in shown
    assert HEAVY & set(modules) == set()
    assert len(modules) < 500


def test_in_a_process_of_its_own_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "harness", "run", "--methods", "tardes"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: unknown method 'tardes'. Did you mean 'trades'? Known: ")


def test_the_commands_are_those_of_the_manual():
    names = set(typer.main.get_command(app).commands)
    assert names == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    assert f"Example: harness {command}" in " ".join(harness(command, "--help").split())


def test_a_run_prints_the_table_and_says_where_everything_lies(finished):
    workspace, _, output = finished
    for text in ("natural", "pgd-at", "fgsm", "adaptive", "worst-case", "30 test examples", "Linf 0.2"):
        assert text in output, text
    assert str(workspace / "harness.db") in output
    assert str(workspace / "reports") in output
    assert (workspace / "harness.db").is_file()
    suffixes = {path.suffix for path in (workspace / "reports").iterdir()}
    assert {".md", ".csv", ".tex", ".png", ".pdf"} <= suffixes


def test_the_same_command_again_finds_everything_done(finished):
    """What is printed is the same whether it was planned anew or recalled, which takes neither torch nor figures."""
    workspace, arguments, _ = finished
    recalled, modules = shown_and_imported(*arguments)
    assert "22 jobs, 22 done before" in recalled
    assert {"torch", "sklearn", "matplotlib"} & set(modules) == set()
    for call in (workspace / "calls").iterdir():
        call.unlink()
    planned, modules = shown_and_imported(*arguments)
    assert planned == recalled
    assert "torch" in modules


def test_a_dry_run_says_what_there_is_to_do_and_does_nothing(finished, tmp_path):
    _, arguments, output = finished
    assert "less than a minute left" in output
    again = harness(*arguments, "--dry-run")
    assert again.splitlines()[:3] == harness(*arguments).splitlines()[:3]
    assert "22 jobs, 22 done; 1 at once" in again
    planned = harness("run", "--methods", "pgd-at", "--attacks", "fgsm", "-w", tmp_path / "new", "--dry-run")
    assert [line.split() for line in planned.splitlines()[4:8]] == [
        ["train", "1", "0"],
        ["natural", "2", "0", "1", "train"],
        ["fgsm", "2", "0", "1", "train"],
        ["diagnose", "2", "0", "1", "train,", "2", "evaluate"],
    ]
    assert not (tmp_path / "new").exists()


def test_a_measured_plan_says_what_it_takes_and_after_the_run_how_wrong_it_was(tmp_path):
    """And on how many devices it takes how long; the measurement is kept and no job is done."""
    words = ["run", "--methods", "natural", "--attacks", "fgsm", "--checkpoints", "last", "--epochs", 1]
    words += ["--train-examples", 200, "--test-examples", 10, "--executor", "inline", "-w", tmp_path]
    assert "not known: what train, natural, fgsm, diagnose take" in harness(*words, "--dry-run")
    measured = harness(*words, "--dry-run", "--measure", "--price", 3600)
    assert "not known" not in measured
    assert [path.name for path in tmp_path.iterdir()] == ["costs.csv"]
    costs = pd.read_csv(tmp_path / "costs.csv")
    assert list(costs["job"]) == ["diagnose", "evaluate fgsm natural", "evaluate natural natural", "train natural"]
    (money,) = re.findall(r"^ all .* ([\d.,]+) *$", measured, re.M)
    assert float(money) == pytest.approx(costs["seconds"].sum(), abs=0.02)
    assert re.search(r"^ devices +takes +busy +money *\n 1 .*100% ", measured, re.M)
    harness(*words, "-q")
    after = harness(*words, "--dry-run")
    assert re.search(r"^ jobs +all +done +planned +took +error +waits for", after, re.M)
    assert re.search(r"^ train +1 +1 .* [+-]\d+% *$", after, re.M)
    assert "--dry-run" in harness("run", "--measure", code=2)


def test_a_deleted_report_and_database_come_back_with_the_same_command(finished):
    workspace, arguments, _ = finished
    before = harness(*arguments)
    (workspace / "harness.db").unlink()
    for file in (workspace / "reports").iterdir():
        file.unlink()
    assert harness(*arguments) == before
    assert (workspace / "reports" / "accuracy_digits_small-cnn_Linf-0.2_best.png").is_file()


def test_results_csv_has_the_columns_that_scripts_rely_on(finished):
    workspace, _, _ = finished
    text = harness("results", "--csv", "--workspace", workspace)
    assert text.startswith(FIRST_COLUMNS)
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == 2 * 2 * 5  # methods, checkpoints; natural, three attacks and worst-case
    assert frame["accuracy"].between(0, 1).all()
    assert (frame["ci_low"] <= frame["accuracy"]).all()
    assert (frame["accuracy"] <= frame["ci_high"]).all()
    assert set(frame["examples"]) == {30}
    records = json.loads(harness("results", "--json", "--workspace", workspace))
    assert [record["accuracy"] for record in records] == frame["accuracy"].tolist()


def test_the_worst_case_is_at_most_every_attack(finished):
    workspace, _, _ = finished
    frame = pd.read_csv(io.StringIO(harness("results", "--csv", "--workspace", workspace)))
    for _, rows in frame.groupby(["method", "checkpoint"]):
        accuracy = rows.set_index("attack")["accuracy"]
        assert (accuracy["worst-case"] <= accuracy).all()


def test_a_rebuilt_database_says_the_same(finished):
    workspace, _, _ = finished
    before = harness("results", "--csv", "--workspace", workspace)
    (workspace / "harness.db").unlink()
    harness("results", "rebuild", "--workspace", workspace)
    assert harness("results", "--csv", "--workspace", workspace) == before


def test_status_counts_the_jobs(finished):
    workspace, _, _ = finished
    assert "22 jobs: 22 done" in harness("status", "--workspace", workspace)


def test_report_writes_the_tables_again(finished):
    workspace, _, _ = finished
    for path in (workspace / "reports").iterdir():
        path.unlink()
    output = harness("report", "--workspace", workspace)
    assert "pgd-at" in output
    assert len(list((workspace / "reports").glob("*.png"))) >= 2


def test_report_shows_what_is_chosen_and_writes_it_in_every_form(finished):
    workspace, _, _ = finished
    asked = ["--methods", "pgd-at=Ours", "--columns", "worst-case,natural", "--checkpoint", "last", "--no-notes"]
    output = harness("report", "--workspace", workspace, "--style", "compact", "--caption", "A caption", *asked)
    assert "A caption" in output
    assert output.index("worst") < output.index("natural")
    assert "Ours" in output
    assert "Accuracy in %" not in output
    written = {path.suffix for path in (workspace / "reports").glob("table_compact_*_last.*")}
    assert written == {".md", ".csv", ".tex", ".html"}


def test_report_writes_the_tables_of_a_paper(finished):
    workspace, _, _ = finished
    output = harness("report", "--workspace", workspace, "--style", "paper")
    for title in ("Accuracy under attack", "Best and last checkpoint", "Cost of training and of attacks"):
        assert title in output
    assert "Ablation" not in output
    written = {path.name for path in (workspace / "reports").glob("table_paper_*.tex")}
    assert written == {f"table_paper_{name}.tex" for name in ("accuracy", "best_last", "cost")}
    assert "passes/example" in (workspace / "reports/table_paper_cost.md").read_text()


def test_report_puts_published_figures_beside_measured_ones(finished, tmp_path):
    """None that ships is of digits; a user's own file has one."""
    workspace, _, _ = finished
    assert "--published FILE.csv" in harness("report", "--claims", "--workspace", workspace, code=2)
    own = tmp_path / "own.csv"
    header = "method,dataset,model,epsilon,attack,accuracy,source,note"
    own.write_text(f"{header}\npgd-at,digits,small-cnn,0.2,pgd-20,99.5,a thesis,\n")
    output = harness("report", "--claims", "--published", own, "--workspace", workspace)
    for text in ("Published beside measured", "99.50¹", "a thesis", "inside"):
        assert text in output
    assert (workspace / "reports/table_claims.html").is_file()


def test_report_of_a_run_without_evaluations_says_what_to_do(tmp_path):
    from results_jobs import write_train

    from results.store import Store

    Store.open(tmp_path / "harness.db")
    for trainings in (0, 1):
        for style in ("full", "paper"):
            output = harness("report", "--workspace", tmp_path, "--style", style)
            assert f"{trainings} trainings have finished, and no evaluation" in output
            assert "`harness status`" in output
        Store.open(tmp_path / "harness.db").ingest(write_train(tmp_path, "a"))


def test_compare_says_in_a_sentence_who_wins(finished):
    """Two epochs of natural training stand against nothing; pgd-at is not to be believed without AutoAttack."""
    workspace, _, _ = finished
    output = harness("compare", "natural", "pgd-at", "--workspace", workspace)
    assert "points of worst-case accuracy" in output
    assert "on the same 30 test examples (digits, small-cnn, Linf 0.2, best checkpoint)" in output
    assert "exact McNemar" in output
    assert "pgd-at is suspect: " in output
    last = harness("compare", "pgd-at", "natural", "--attack", "fgsm", "--checkpoint", "last", "-w", workspace)
    assert "points of fgsm accuracy" in last
    output = harness("compare", "natural", "pgd-ad", "--workspace", workspace, code=2)
    assert "unknown method 'pgd-ad'. Did you mean 'pgd-at'?" in output
    assert len(output.strip().splitlines()) == 1


def test_a_run_ranks_the_methods(finished):
    workspace, _, output = finished
    assert "rank: 1 + the number of methods" in output
    (path,) = (workspace / "reports").glob("table_*_best.csv")
    assert set(pd.read_csv(path)["rank"]) <= {1, 2}


def test_results_can_be_chosen_by_the_values_of_columns(finished):
    workspace, _, _ = finished
    only = ["--only", "attack=fgsm,worst-case", "--only", "method=natural", "--only", "seed=0", "--json"]
    records = json.loads(harness("results", *only, "-w", workspace))
    assert [(each["method"], each["attack"]) for each in records] == [
        ("natural", "fgsm"),
        ("natural", "worst-case"),
    ] * 2
    where = [word.replace("--only", "--where") for word in only]
    assert json.loads(harness("results", *where, "-w", workspace)) == records
    assert "results have no column 'attaque'" in harness("results", "--only", "attaque=cw", "-w", workspace, code=2)
    assert "takes COLUMN=VALUE" in harness("results", "--only", "cw", "-w", workspace, code=2)


def test_results_are_written_as_parquet(finished, tmp_path):
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    workspace, _, _ = finished
    file = tmp_path / "new" / "results.parquet"
    assert harness("results", "--parquet", file, "--where", "attack=fgsm", "-w", workspace) == f"4 rows in {file}\n"
    records = json.loads(harness("results", "--json", "--where", "attack=fgsm", "-w", workspace))
    assert pd.read_parquet(file)["accuracy"].tolist() == [record["accuracy"] for record in records]


def test_a_shell_completes_the_last_of_several_names():
    assert completing("methods")("natural,trades-") == [f"natural,trades-{part}" for part in ("ancra", "anc", "ra")]
    assert completing("datasets")("dig") == ["digits"]


def test_options_are_understood_and_explained():
    """The norm in any case; how many seeds, not which; no default is cut off in a help of 80 columns."""
    assert "error: --norm L2 needs --eps" in harness("run", "--norm", "l2", code=2)
    said = harness("run", "--seeds", "0,1", code=2).replace("│", " ")
    assert "takes how many seeds, got '0,1': seeds 3 and 4 are --seed 3 --seeds 2" in " ".join(said.split())
    shown = " ".join(harness("run", "--help").replace("│", " ").split())
    assert "default: fgsm, pgd-20, cw, autoattack, adaptive." in shown
    assert "…" not in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--methods", "tardes"], "unknown method 'tardes'. Did you mean 'trades'?"),
        (["run", "--dataset", "digts"], "Did you mean 'digits'?"),
        (["run", "--attacks", "pdg-20"], "'pdg"),
        (["run", "--set", "trades.bate=1", "--methods", "trades"], "Did you mean 'beta'?"),
        (["run", "--eps", "eight"], "fraction such as 8/255 is a number), got 'eight'"),
        (["run", "--plugin", "nowhere.py"], "plugin file"),
        (["run", "--executor", "cloud"], "unknown executor 'cloud'. Known: local, inline, slurm, dask."),
        (["run", "--slurm", "time=60"], "--slurm needs --executor slurm, not local"),
        (["status"], "harness run"),
        (["report"], "harness run"),
        (["results", "--csv"], "harness run"),
        (["compare", "trades", "mart"], "harness run"),
        (["evaluate", "--model", "nowhere.py:make", "--dataset", "digits"], "nowhere.py does not exist"),
        (
            ["evaluate", "--model", "make", "--dataset", "digits"],
            "robustbench:NAME or runs:METHOD/seed0/best, got 'make'",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    output = harness(*arguments, code=2)
    assert message in output
    assert len(output.strip().splitlines()) <= 2
    assert not list(tmp_path.rglob("*.json")), "no work was started"


@pytest.mark.parametrize("kind", ["methods", "models", "datasets", "attacks"])
def test_lists_name_everything_registered(kind):
    from harness.plugins import REGISTRIES, load_plugins

    load_plugins()
    output = harness(kind)
    assert all(name in output for name in REGISTRIES[kind])


def test_a_failed_job_makes_exit_code_1(tmp_path):
    output = harness(
        *("run", "--methods", "natural", "--dataset", "digits", "--epochs", 3, "--train-examples", 100),
        *("--set", "protocol.lr=1e30", "--set", "protocol.schedule=constant", "--test-examples", 10),
        *("--attacks", "fgsm", "--workspace", tmp_path, "--executor", "inline"),
        code=1,
    )
    assert "natural: the loss term" in output
    assert "harness status" in output
    assert "1 failed" in harness("status", "--workspace", tmp_path)


def test_doctor_finds_this_machine_ready(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    output = harness("doctor")
    assert "ok    attacks: FGSM agrees with a closed form" in output
    assert re.search(r"ok    precision: (cpu|cuda:0): (bfloat16|float32) \(.* here\)", output)
    assert "fail" not in output
