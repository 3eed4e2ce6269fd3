"""Run one job in its directory: the only code that a worker process executes."""

import contextlib
import filecmp
import json
import logging
import platform
import shutil
import subprocess
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from harness.api.data import Data
from harness.api.errors import HarnessError
from harness.api.specs import AnySpec, EvaluateSpec, FeaturesSpec, ShardSpec, TrainSpec, job_id, parse_spec
from harness.compute.files import flush, save_array, save_text, write_atomically
from harness.compute.memory import ran_out
from harness.datasets import load
from harness.evaluation.features import features_job
from harness.evaluation.job import evaluate_job, merge_job, outcome_of
from harness.evaluation.judge import Report
from harness.evaluation.judgement import Judgement
from harness.plugins import load_plugins
from harness.run.cancelling import Cancelled, cancellable
from harness.run.status import read_result
from harness.run.together import together
from harness.run.workspace import Workspace
from harness.training.loop import train
from harness.trust.diagnose import diagnose_job
from results.checksums import is_intact, sealed
from results.layout import JobFiles

log = logging.getLogger("harness")
_PACKAGES = ("torch", "torchvision", "numpy", "pyautoattack", "robustbench")


class JobFailed(Exception):
    """A job ended with an error; its directory holds ``failure.json`` and ``log.txt``."""

    def __init__(self, message: str, retry: bool) -> None:
        super().__init__(message, retry)  # both, so that it comes back whole from another process
        self.message, self.retry = message, retry

    def __str__(self) -> str:
        return self.message


def run_job(job_id: str, workspace: Workspace, device: str, shards: Sequence[str] = ()) -> None:
    """Do the job that its ``spec.json`` describes, unless it is done; leave ``result.json`` behind.

    An evaluation that was divided puts its ``shards`` together, which are done. ``device`` may be several, such as
    ``cuda:0,cuda:1``: a training takes all of them, other jobs the first.

    A lock keeps a second worker, of whatever scheduler, waiting until the first is done or dead. The workspace says
    where this machine finds the images; their fingerprint must be the spec's.

    Raises:
        JobFailed: with the first line of the error; ``retry`` is false where another try would end the same way.
    """
    files = workspace.job(job_id)
    with FileLock(files.lock):
        if files.result.exists():
            return
        with _logging_to(files.log):
            try:
                with cancellable(workspace.cancellation(job_id)):
                    _run(files, workspace, device.split(","), [workspace.job(shard) for shard in shards])
            except (Exception, SystemExit, Cancelled) as error:  # a plugin's exit() is no end of the worker
                raise _record_failure(files, error) from error


def _run(files: JobFiles, workspace: Workspace, devices: Sequence[str], shards: Sequence[JobFiles]) -> None:
    device = torch.device(devices[0])
    files.failure.unlink(missing_ok=True)
    load_plugins(workspace.plugins)
    spec = parse_spec(files.spec.read_text(encoding="utf-8"))
    data = _checked_data(spec, workspace)
    started, clock = datetime.now(UTC), time.perf_counter()
    log.info("%s on %s", files.id, ", ".join(devices))

    def report(progress: dict[str, Any]) -> None:
        save_text(files.progress, json.dumps({"since": started.timestamp(), **progress}))

    report({})
    if isinstance(spec, EvaluateSpec | ShardSpec):
        outcome = _same_as_best(spec, files) or _evaluate(spec, data, device, files, report, shards)
    elif isinstance(spec, TrainSpec):
        with together(files.id, workspace, devices) as group:
            outcome = train(spec, data, device, files, report, group)
    elif isinstance(spec, FeaturesSpec):
        outcome = features_job(spec, data, device, files, report)
    else:
        outcome = diagnose_job(spec, data, device, files)
    about = {
        "id": job_id(spec),
        "kind": spec.kind,
        "started": started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
        "seconds": time.perf_counter() - clock + sum(read_result(shard)["seconds"] for shard in shards),
        **provenance(device),
    }
    for path in (files.spec, files.command):  # the scheduler, which writes many, does not wait for the disk
        if path.exists():
            flush(path)
    save_text(files.result, sealed({**about, **outcome, **about}, files))
    shutil.rmtree(files.state, ignore_errors=True)
    for shard in shards:
        shard.adversarial.unlink(missing_ok=True)
    files.progress.unlink(missing_ok=True)


def _evaluate(
    spec: EvaluateSpec | ShardSpec,
    data: Data,
    device: torch.device,
    files: JobFiles,
    report: Report,
    shards: Sequence[JobFiles],
) -> dict[str, Any]:
    judgement = merge_job(shards, files) if shards else evaluate_job(spec, data, device, files, report)
    save_verdicts(files.verdicts, judgement)
    return outcome_of(judgement)


def _same_as_best(spec: EvaluateSpec | ShardSpec, files: JobFiles) -> dict[str, Any] | None:
    """The outcome of the same attack on ``best``, where ``last`` has the very same weights; None if there is none.

    It depends on nothing else: not on the checkpoint's name. A worker that is at it is waited for.
    """
    twin = files.sibling(job_id(spec.model_copy(update={"checkpoint": "best"})))
    if twin.id == files.id or not twin.spec.exists():
        return None
    trained = [files.sibling(name) for name in (spec.train_id, *(each.train_id for each in spec.siblings))]
    if not all(filecmp.cmp(each.weights("best"), each.weights("last"), shallow=False) for each in trained):
        return None
    with FileLock(twin.lock):
        if not twin.result.exists() or not is_intact(twin, twin.verdicts):
            return None
    log.info("the weights are those of best, and so is the outcome of %s", twin.id)
    _copy(twin.verdicts, files.verdicts)
    if twin.adversarial.exists():
        _copy(twin.adversarial, files.adversarial)
    return {**json.loads(twin.result.read_text()), "same_as": twin.id}


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, lambda part: shutil.copyfile(source, part))


def provenance(device: torch.device) -> dict[str, Any]:
    """What computed a result: device, versions, and the commit of the harness."""
    return {"device": device_name(device), "versions": _versions(), "code": _code_version()}


def save_verdicts(path: Path, judgement: Judgement) -> None:
    """One bool for each example."""
    save_array(path, judgement.verdicts.numpy())


def _checked_data(spec: AnySpec, workspace: Workspace) -> Data:
    wanted = (spec if isinstance(spec, TrainSpec) else spec.train).dataset
    data = load_once(workspace.dataset, workspace.data_root)
    if data.fingerprint != wanted.fingerprint:
        raise HarnessError(
            f"{workspace.dataset} has changed since this job was planned (fingerprint {data.fingerprint}, "
            f"expected {wanted.fingerprint}): run the same command again"
        )
    return data


@lru_cache(maxsize=1)
def load_once(dataset: str, data_root: Path) -> Data:
    """The data set, kept in memory between the jobs of one worker."""
    return load(dataset, data_root)


def _record_failure(files: JobFiles, error: Exception | SystemExit | Cancelled) -> JobFailed:
    message = str(error) if isinstance(error, HarnessError | Cancelled) else f"{type(error).__name__}: {error}"
    log.error("%s", traceback.format_exc())
    save_failure(files, message, traceback.format_exc())
    return JobFailed(message, retry=_may_pass(error))


def save_failure(files: JobFiles, message: str, trace: str = "") -> None:
    """Leave ``failure.json`` behind, where the disk takes it."""
    now = datetime.now(UTC).isoformat()
    failure = {"error": message, "traceback": trace, "log": files.log.name, "finished": now}
    with contextlib.suppress(OSError):
        save_text(files.failure, json.dumps(failure, indent=1))


def _may_pass(error: BaseException) -> bool:
    """Whether another try could end otherwise: what the machine lacked may be there then; code stays as it is."""
    return isinstance(error, OSError | torch.AcceleratorError) or ran_out(error)


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


def device_name(device: torch.device) -> str:
    """What a result says of where it was computed."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"


@lru_cache(maxsize=1)
def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "harness": version("robustness-harness")} | {
        package: version(package) for package in _PACKAGES
    }


@lru_cache(maxsize=1)
def _code_version() -> str | None:
    """The commit of the harness's own checkout, ``+`` when files were changed; None for an installed wheel."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None
    try:
        commit = _git(here, "rev-parse", "--short=12", "HEAD")
        return commit + ("+" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
