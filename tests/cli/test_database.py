"""The commands at a database that is not the workspace's own file, and those that look after it."""

from command_line import harness
from results_jobs import write_workspace

QUICK = ("--epochs", 1, "--train-examples", 200, "--test-examples", 10, "--attacks", "fgsm", "--checkpoints", "best")
RUN = ("run", "--methods", "natural", *QUICK, "--executor", "inline")


def test_a_team_runs_and_reads_on_a_server_as_on_a_file_of_its_own(on_postgres, tmp_path):
    """The URL after a command, or before ``rebuild``; no file is made, and the numbers are those of a file."""
    there = ("-w", tmp_path, "--store", on_postgres)
    assert "4 jobs, 0 done before" in harness(*RUN, *there)
    assert "4 jobs, 4 done before" in harness(*RUN, *there)
    assert not (tmp_path / "harness.db").exists()
    harness("results", "rebuild", "-w", tmp_path)
    numbers = harness("results", "--csv", "-w", tmp_path)
    assert harness("results", "--csv", *there) == numbers
    assert "got natural and natural" in harness("compare", "natural", "natural", *there, code=2)
    assert f"the old database is {tmp_path}/harness.db.bak" in harness("results", *there, "rebuild")
    assert harness("results", "--csv", *there) == numbers
    harness("rm", "train-", *there, "--yes")
    assert len(harness("results", "--csv", *there).splitlines()) == 1


def test_the_environment_names_the_database_too(tmp_path, monkeypatch):
    """For every command of a shell; the option counts before it."""
    write_workspace(tmp_path / "jobs")
    harness("results", "rebuild", "-w", tmp_path)
    monkeypatch.setenv("HARNESS_STORE", f"sqlite:///{tmp_path}/team.db")
    assert "there is no database at" in harness("results", "-w", tmp_path, code=2)
    own = harness("results", "--csv", "-w", tmp_path, "--store", f"sqlite:///{tmp_path}/harness.db")
    harness("results", "rebuild", "-w", tmp_path)
    assert harness("results", "--csv", "-w", tmp_path) == own


def test_a_password_is_not_typed(tmp_path, monkeypatch):
    """A command is kept in the workspace; the environment is not."""
    url = "postgresql+psycopg://me:secret@127.0.0.1:9/db"
    said = harness("results", "-w", tmp_path, "--store", url, code=2)
    assert "PGPASSWORD" in said
    assert "secret" not in said
    monkeypatch.setenv("HARNESS_STORE", url)
    said = harness("results", "-w", tmp_path, code=2)
    assert "me:***@127.0.0.1:9/db cannot be used" in said


def test_results_are_merged_and_checked(tmp_path):
    """Exit code 1 where something stays out or is wrong."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for place, seed in ((ours, 0), (theirs, 1)):
        write_workspace(place / "jobs", seed, trainings=1)
        for name in ("best", "last"):
            (place / "jobs" / f"train-{seed}-0" / f"{name}.safetensors").touch()
        harness("results", "rebuild", "-w", place)
    assert f"4 jobs of {theirs} joined {ours}/harness.db, 0 are the same" in harness(
        "results", "merge", theirs, "-w", ours
    )
    assert "no problems" in harness("results", "-w", ours, "check")
    (theirs / "jobs" / "train-1-0" / "history.jsonl").write_text("{}")
    assert "skipped: " in harness("results", "merge", theirs, "-w", ours, code=1)
    (ours / "jobs" / "train-1-0" / "best.safetensors").unlink()
    said = harness("results", "check", "-w", ours, code=1)
    assert "best.safetensors is missing: copy it from elsewhere" in said
    assert "1 problem\n" in said
