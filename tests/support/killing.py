"""Runs that are killed at random instants, and what must have come of them all the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from random import Random

import numpy as np
from safetensors.numpy import load_file

from results.check import problems
from results.layout import WorkspaceFiles
from results.queries import history, long_form
from results.store import Store

ARGUMENTS = [
    *("run", "--methods", "trades", "--dataset", "digits", "--epochs", "4", "--train-examples", "400"),
    *("--attacks", "fgsm,pgd-1000", "--checkpoints", "last", "--test-examples", "12"),
    *("--set", "trades.attack_steps=3", "--eps", "0.1"),
]
TARGETS = ("scheduler", "worker", "both")
_CLOCKS = ("seconds", "images_per_second", "peak_memory", "started")


def start(workspace: Path, *options: str, **streams) -> subprocess.Popen:
    command = [sys.executable, "-m", "harness", *ARGUMENTS, *options, "--workspace", str(workspace)]
    # A shell starts what runs in its background with Ctrl-C ignored, and children inherit that: not this one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, text=True, **streams)
    finally:
        signal.signal(signal.SIGINT, before)


def without_coverage() -> dict[str, str]:
    """Who is killed does not live to say which lines were covered, and is quicker where nobody asks."""
    return {name: value for name, value in os.environ.items() if "COV" not in name}


def outcome(workspace: Path) -> dict[str, object]:
    """All that a run gives but times: the tables, histories, verdicts and weights; nothing may be wrong in it."""
    files = WorkspaceFiles(workspace)
    store = Store.open(files.database, create=False)
    assert list(problems(store, files)) == []
    frames = {query.__name__: query(store) for query in (long_form, history)}
    found: dict[str, object] = {
        name: frame.drop(columns=[*_CLOCKS], errors="ignore").to_csv(index=False) for name, frame in frames.items()
    }
    for path in sorted(files.jobs.glob("*/*.safetensors")):
        found[f"{path.parent.name}/{path.name}"] = {key: value.tobytes() for key, value in load_file(path).items()}
    for path in sorted(files.jobs.glob("*/verdicts.npy")):
        found[f"{path.parent.name}/{path.name}"] = np.load(path).tolist()
    return found


def soak(
    folder: Path, kills: int, draw: Random, longest: float, *options: str
) -> Iterator[tuple[int, dict[str, object]]]:
    """Kill runs so many times in all, each at up to ``longest`` seconds after it began or was struck before.

    A round is one workspace, in which the same command is given until it ends well: yields the kills so far, and the
    outcome. No result that was there once may ever change or be gone.
    """
    struck = 0
    for number in count():
        workspace, results = folder / str(number), dict[Path, bytes]()
        ended = None
        while ended != 0:
            with (folder / f"{number}.txt").open("a") as log:
                process = start(workspace, *options, stdout=log, stderr=log, env=without_coverage())
                try:
                    while struck < kills and not _ends(process, draw.uniform(0, longest)):
                        struck += _strike(process.pid, draw.choice(TARGETS))
                        results = _kept(results, workspace)
                    ended = process.wait()
                finally:
                    process.kill()
            assert ended in (0, 1, -signal.SIGKILL), (folder / f"{number}.txt").read_text()
        _kept(results, workspace)
        yield struck, outcome(workspace)
        if struck == kills:
            return


def _ends(process: subprocess.Popen, seconds: float) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.poll() is not None


def _strike(scheduler: int, target: str) -> bool:
    """Kill it, a worker of its, or both, if they are there; scheduler first, so that it replaces no worker."""
    victims = [scheduler] if target != "worker" else []
    victims += _workers(scheduler) if target != "scheduler" else []
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(victims)


def _workers(scheduler: int) -> list[int]:
    asked = ["ps", "-A", "-o", "pid=,ppid=,args="]
    lines = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
    fields = [line.split(maxsplit=2) for line in lines]
    return [int(pid) for pid, parent, *args in fields if int(parent) == scheduler and "spawn_main" in str(args)]


def _kept(before: dict[Path, bytes], workspace: Path) -> dict[Path, bytes]:
    """What every ``result.json`` says, in which all that was there before is as it was."""
    now = {path: path.read_bytes() for path in workspace.glob("jobs/*/result.json")}
    assert {path: now.get(path) for path in before} == before
    return now
