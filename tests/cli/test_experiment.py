"""A whole experiment as a file: read, overridden, written by every run, and what is wrong with one."""

import shlex
import tomllib

import pytest
from command_line import harness
from hypothesis import given
from hypothesis import strategies as st

from harness.cli.experiment import as_toml
from results.layout import WorkspaceFiles

FILE = """
methods = ["natural", "pgd-at"]
epochs = 7
train-examples = 200
test-examples = 10
attacks = "fgsm"
checkpoints = "best"
executor = "inline"
set = ["pgd-at.attack_steps=2,3"]
workspace = "runs"
"""


@pytest.fixture
def file(tmp_path):
    """An experiment in a folder of its own, in which nobody works."""
    path = tmp_path / "there" / "experiment.toml"
    path.parent.mkdir()
    path.write_text(FILE)
    return path


def jobs_of(*words):
    """What a dry run says but the time that is left."""
    return harness("run", *words, "--dry-run")


def test_a_file_is_its_options_and_the_command_line_comes_first(file):
    """Paths are relative to the file; ``--methods`` on the command line takes the place of the file's."""
    words = ("--epochs", 7, "--train-examples", 200, "--test-examples", 10, "--attacks", "fgsm", "--executor", "inline")
    words += ("--checkpoints", "best", "--set", "pgd-at.attack_steps=2,3", "-w", file.parent / "runs")
    assert jobs_of(file) == jobs_of("--methods", "natural,pgd-at", *words)
    assert "digits: pgd-at (attack_steps=2), pgd-at (attack_steps=3); seeds 0, 1\n" in jobs_of(
        file, "--methods", "pgd-at", "--seeds", 2
    )


def test_a_run_leaves_the_file_that_asks_for_it_again(file, tmp_path, monkeypatch):
    """From wherever the workspace is moved; and each job its command, which needs no file."""
    file.write_text(FILE.replace("2,3", "2").replace('"natural", ', ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "secret"))
    harness("run", file, "--epochs", 1, "-q")
    workspace = (file.parent / "runs").rename(tmp_path / "moved")
    (kept,) = (workspace / "experiments").iterdir()
    assert tomllib.loads(kept.read_text())["epochs"] == 1
    assert "secret" not in kept.read_text()
    monkeypatch.chdir("/")
    assert "4 jobs, 4 done" in jobs_of(kept)
    (text,) = {path.read_text() for path in workspace.glob("jobs/*/command.txt")}
    place, command = map(shlex.split, text.splitlines())
    assert place == ["cd", str(tmp_path)]
    assert "experiment.toml" not in text
    assert "4 jobs, 4 done" in harness(*command[1:], "-w", workspace, "--dry-run")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('epochs = "many"', 'epochs = "many": '),
        ("epoch = 3", "unknown setting 'epoch'. Did you mean 'epochs'? Known: attacks, "),
        ("dry-run = true", "unknown setting 'dry-run'"),
        ('features = "yes"', 'features = "yes": takes true or false'),
        ("seeds = 0", "seeds = 0: takes how many seeds"),
        ('norm = "L1"', 'norm = "L1": '),
        ("methods = [[1]]", "methods = [[1]]: takes a text, a number, or a list of them"),
        ("methods = true", "methods = true: takes a text"),
        ('methods = "tradez"', "unknown method 'tradez'. Did you mean 'trades'?"),
        ("plugin = 3", "/3 does not exist"),
        ("methods = [", "is no TOML: "),
    ],
)
def test_what_is_wrong_is_said_with_file_key_and_what_would_be_right(line, message, tmp_path):
    file = tmp_path / "wrong.toml"
    file.write_text(line)
    said = harness("run", file, code=2)
    assert message in said
    assert str(file) in said
    assert not WorkspaceFiles(tmp_path / "runs").root.exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    assert f"the experiment {tmp_path / 'no.toml'} cannot be read" in harness("run", tmp_path / "no.toml", code=2)


@given(
    st.dictionaries(
        st.from_regex("[a-z-]+", fullmatch=True),
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.lists(st.text()),
    )
)
def test_what_is_written_is_read_alike(settings):
    """By Python's own reader of TOML, whatever the texts hold."""
    assert tomllib.loads(as_toml(settings)) == settings
