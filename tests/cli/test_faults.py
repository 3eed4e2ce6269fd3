"""What the system refuses, and files that are damaged, as a user meets them: one line that says what to do."""

import os
import shutil
import subprocess
import time

import pytest
from command_line import harness
from filelock import FileLock

from results.store import Store

QUICK = ("--epochs", 1, "--train-examples", 200, "--test-examples", 10, "--attacks", "fgsm", "--checkpoints", "best")
RUN = ("run", "--methods", "natural", *QUICK, "--executor", "inline", "-q")


def numbers(workspace):
    """What was measured, without what depends on the clock."""
    return [line.split(",")[:10] for line in harness("results", "--csv", "-w", workspace).splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workspace with one training under FGSM, left alone."""
    workspace = tmp_path_factory.mktemp("runs")
    harness(*RUN, "-w", workspace)
    return workspace


@pytest.fixture
def workspace(finished, tmp_path):
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "runs")


@pytest.fixture
def mounted(tmp_path):
    """Mount a small disk of its own, or mount it again with other options."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(options):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("only root can mount a disk")
        return disk

    yield mount
    subprocess.run(["umount", "--lazy", disk], check=False)


def test_an_archive_that_cannot_be_written_is_read(finished, mounted):
    """The tables are printed, and it is said that they were not written."""
    place = shutil.copytree(finished, mounted("size=20m") / "runs")
    mounted("remount,ro,size=20m")
    assert harness("results", "--csv", "-w", place) == harness("results", "--csv", "-w", finished)
    assert "4 jobs: 4 done" in harness("status", "-w", place)
    said = harness("report", "-w", place, code=2)
    assert "natural" in said
    assert "Read-only file system: name a place that can be written, with --workspace" in said
    assert "evaluate-" in harness("show", "evaluate-", "-w", place, code=2)
    assert "Read-only file system" in harness("results", "rebuild", "-w", place, code=2)


def test_a_full_disk_is_said_to_be_full_and_nothing_is_to_be_deleted(finished, mounted):
    """With more room the same command goes on."""
    place = mounted("size=200k")
    said = harness(*RUN, "-w", place, code=1)
    assert "failed: natural seed 0: OSError: [Errno 28] No space left on device" in said
    assert "delete" not in said
    mounted("remount,size=20m")
    harness(*RUN, "-w", place)
    assert numbers(place) == numbers(finished)


def test_a_full_disk_while_results_are_stored_costs_no_result(finished, mounted):
    """The jobs are whole, the database does not fit."""
    place = mounted("size=20m")
    shutil.copytree(finished / "jobs", place / "jobs")
    mounted("remount,size={}k".format(sum(f.stat().st_blocks for f in place.rglob("*")) // 2 + 8))
    said = harness(*RUN, "-w", place, code=2)
    assert "free some space" in said
    assert "delete" not in said
    assert "free some space" in harness("results", "rebuild", "-w", place, code=2)
    mounted("remount,size=20m")
    harness(*RUN, "-w", place)
    assert numbers(place) == numbers(finished)


@pytest.mark.parametrize("name", ["jobs", "reports"])
def test_a_file_in_the_place_of_a_folder_is_named(workspace, name):
    shutil.rmtree(workspace / name)
    (workspace / name).write_text("")
    said = harness("report", "-w", workspace, code=2) if name == "reports" else harness(*RUN, "-w", workspace, code=1)
    assert str(workspace / name) in said
    assert "File exists" in said or "Not a directory" in said


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "is empty"), (b"garbage" * 1000, "file is not a database")], ids=["empty", "garbage"]
)
def test_a_database_without_rows_names_what_brings_them_back(workspace, content, said):
    before = harness("results", "--csv", "-w", workspace)
    (workspace / "harness.db").write_bytes(content)
    for command in (("results",), ("report",), ("compare", "natural", "natural")):
        message = harness(*command, "-w", workspace, code=2)
        assert said in message
        assert "`harness results rebuild` makes it anew from the job directories" in message
    harness("results", "rebuild", "-w", workspace)
    assert harness("results", "--csv", "-w", workspace) == before


def test_a_damaged_page_of_the_database_names_what_heals_it(workspace):
    content = bytearray((workspace / "harness.db").read_bytes())
    content[4096 * 2 :] = b"\x55" * (len(content) - 4096 * 2)
    (workspace / "harness.db").write_bytes(content)
    assert "`harness results rebuild` makes it anew" in harness("results", "-w", workspace, code=2)


def test_a_call_that_is_done_does_what_is_damaged_again(workspace):
    """The database is gone, too: nothing else holds the number."""
    before = numbers(workspace)
    (verdicts, *_) = workspace.glob("jobs/*/verdicts.npy")
    os.truncate(verdicts, 60)
    (workspace / "harness.db").unlink()
    harness(*RUN, "-w", workspace)
    assert verdicts.with_name("verdicts.npy.damaged").exists()
    assert numbers(workspace) == before


def test_a_running_job_that_has_long_said_nothing_shows_it(workspace):
    """Where the clock was put back, a sign from the future is none of long ago."""
    (result, *_) = workspace.glob("jobs/evaluate-*/result.json")
    result.unlink()
    for age, said in ((25, "nothing heard for 25 min"), (5, ""), (-60, "")):
        heard = time.time() - 60 * age
        os.utime(result.with_name("log.txt"), (heard, heard))
        with FileLock(result.with_name("lock")):
            line = next(line for line in harness("status", "-w", workspace).splitlines() if line.startswith("running"))
        assert ("nothing heard" in line) == bool(said)
        assert said in line


def test_a_job_of_a_newer_version_is_passed_over(workspace):
    """It is named where it is read, and everything else stays as it is."""
    before = harness("results", "--csv", "-w", workspace)
    newer = workspace / "jobs" / "evaluate-0123456789abcdef"
    newer.mkdir()
    (newer / "spec.json").write_text('{"kind": "shard", "train": 7, "evaluations": [[]]}')
    (newer / "result.json").write_text("{}")
    assert "1 damaged" in harness("status", "-w", workspace)
    assert f"skipped: {newer}/spec.json is damaged" in harness("results", "rebuild", "-w", workspace)
    assert harness("results", "--csv", "-w", workspace) == before
    harness(*RUN, "-w", workspace)


def test_what_a_killed_rebuild_left_behind_goes_with_the_next(workspace):
    """Not what one that is still at work needs."""
    left, busy = workspace / ".harness.db-left", workspace / ".harness.db-busy"
    for folder in (left, busy):
        folder.mkdir()
        Store.open(folder / "harness.db")
    with FileLock(busy / "lock"):
        harness("results", "rebuild", "-w", workspace)
    assert (left.exists(), busy.exists()) == (False, True)
