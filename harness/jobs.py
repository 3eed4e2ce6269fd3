"""Run one job in its directory: the only code that a worker process executes."""

import contextlib
import json
import logging
import platform
import shutil
import subprocess
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from harness.checkpoints import save_text, write_atomically
from harness.datasets import load
from harness.datasets.base import Data
from harness.diagnosis import diagnose_job
from harness.errors import HarnessError
from harness.evaluation import evaluate_job
from harness.registry import load_plugins
from harness.specs import AnySpec, EvaluateSpec, TrainSpec, job_id, parse_spec
from harness.training import train

log = logging.getLogger("harness")
_PACKAGES = ("torch", "torchvision", "numpy", "pyautoattack", "robustbench")


class JobFailed(Exception):
    """A job ended with an error; its directory holds ``failure.json`` and ``log.txt``."""

    def __init__(self, message: str, retry: bool) -> None:
        super().__init__(message, retry)  # both, so that it comes back whole from another process
        self.message, self.retry = message, retry

    def __str__(self) -> str:
        return self.message


def run_job(directory: Path, dataset: str, data_root: Path, plugins: tuple[Path, ...], device: str) -> None:
    """Do the job that ``directory/spec.json`` describes, unless it is done; leave ``result.json`` behind.

    A lock keeps a second worker, of whatever scheduler, waiting until the first is done or dead. ``dataset`` says
    where this machine finds the images (``imagefolder:PATH``); their fingerprint must be the spec's.

    Raises:
        JobFailed: with the first line of the error; ``retry`` is false where another try would end the same way.
    """
    with FileLock(directory / "lock"):
        if (directory / "result.json").exists():
            return
        with _logging_to(directory / "log.txt"):
            try:
                _run(directory, dataset, data_root, plugins, torch.device(device))
            except Exception as error:
                raise _record_failure(directory, error) from error


def _run(directory: Path, dataset: str, data_root: Path, plugins: tuple[Path, ...], device: torch.device) -> None:
    (directory / "failure.json").unlink(missing_ok=True)
    load_plugins(plugins)
    spec = parse_spec((directory / "spec.json").read_text())
    data = _checked_data(spec, dataset, data_root)
    started, clock = datetime.now(UTC), time.perf_counter()
    log.info("%s on %s", directory.name, device)

    def report(progress: dict[str, Any]) -> None:
        save_text(directory / "progress.json", json.dumps(progress))

    if isinstance(spec, EvaluateSpec):
        judgement, outcome = evaluate_job(spec, data, device, directory, report)
        verdicts = judgement.verdicts.numpy()
        write_atomically(directory / "verdicts.npy", lambda part: _save_array(part, verdicts))
    elif isinstance(spec, TrainSpec):
        outcome = train(spec, data, device, directory, report)
    else:
        outcome = diagnose_job(spec, data, device, directory)
    result = {
        "id": job_id(spec),
        "kind": spec.kind,
        "started": started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "seconds": time.perf_counter() - clock,
        "device": _device_name(device),
        "versions": _versions(),
        "code": _code_version(),
        **outcome,
    }
    save_text(directory / "result.json", json.dumps(result, indent=1))
    shutil.rmtree(directory / "state", ignore_errors=True)
    (directory / "progress.json").unlink(missing_ok=True)


def _save_array(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _checked_data(spec: AnySpec, dataset: str, data_root: Path) -> Data:
    wanted = (spec if isinstance(spec, TrainSpec) else spec.train).dataset
    data = load_once(dataset, data_root)
    if data.fingerprint != wanted.fingerprint:
        raise HarnessError(
            f"{dataset} has changed since this job was planned (fingerprint {data.fingerprint}, "
            f"expected {wanted.fingerprint}): run the same command again"
        )
    return data


@lru_cache(maxsize=1)
def load_once(dataset: str, data_root: Path) -> Data:
    """The data set, kept in memory between the jobs of one worker."""
    return load(dataset, data_root)


def _record_failure(directory: Path, error: Exception) -> JobFailed:
    message = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
    log.error("%s", traceback.format_exc())
    failure = {
        "error": message,
        "traceback": traceback.format_exc(),
        "log": "log.txt",
        "finished": datetime.now(UTC).isoformat(),
    }
    save_text(directory / "failure.json", json.dumps(failure, indent=1))
    return JobFailed(message, retry=not isinstance(error, HarnessError))


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "harness": version("robustness-harness")} | {
        package: version(package) for package in _PACKAGES
    }


@lru_cache(maxsize=1)
def _code_version() -> str | None:
    """The commit of the harness's own checkout, ``+`` when files were changed; None for an installed wheel."""
    here = Path(__file__).parent
    if not (here.parent / ".git").exists():
        return None
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
