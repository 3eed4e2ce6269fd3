"""Where jobs run; each executor speaks ``concurrent.futures.Executor``, and gives a call its device as last argument.

Must not know what a job is; Slurm's keeps files in the job's directory.
"""

from harness.api.errors import HarnessError
from harness.run.executors.given import GivenExecutor, on_dask
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.local import LocalExecutor, WorkerDied
from harness.run.executors.slots import Slot, default_slots, parse_devices
from harness.run.executors.slurm import SlurmExecutor, parse_options
from results.layout import WorkspaceFiles

__all__ = [
    "EXECUTORS",
    "GivenExecutor",
    "InlineExecutor",
    "JobExecutor",
    "LocalExecutor",
    "Slot",
    "SlurmExecutor",
    "WorkerDied",
    "default_slots",
    "executor_for",
    "on_dask",
]

EXECUTORS = ("local", "inline", "slurm", "dask")
JobExecutor = GivenExecutor | InlineExecutor | LocalExecutor | SlurmExecutor


def executor_for(
    name: str,
    workers: int | None,
    workspace: WorkspaceFiles,
    *,
    devices: str = "",
    each: int = 1,
    hours: float | None = None,
    slurm: str = "",
    dask: str = "",
) -> JobExecutor:
    """The executor called ``name``, with so many workers (default: one per device), for jobs of the workspace.

    ``devices`` are GPUs of this machine by their numbers, such as ``0,2``, ``each`` is how many of them a training
    takes, and ``hours`` the limit of one job there; ``slurm`` has options of sbatch, ``dask`` the address of a
    scheduler.

    Raises:
        HarnessError: for a name that is not known, no workers at all, or options that are none or another executor's.
    """
    if name not in EXECUTORS:
        raise HarnessError(f"unknown executor {name!r}. Known: {', '.join(EXECUTORS)}.")
    if workers is not None and workers < 1:
        raise HarnessError(f"--workers must be at least 1, got {workers}")
    for option, owner, given in (
        ("--devices", "local", devices),
        ("--devices-per-job", "local", each > 1),
        ("--time-limit", "local", hours),
        ("--slurm", "slurm", slurm),
        ("--dask", "dask", dask),
    ):
        if given and name != owner:
            raise HarnessError(f"{option} needs --executor {owner}, not {name}")
    if name == "slurm":
        return SlurmExecutor(parse_options(slurm), workspace, workers)
    if name == "dask":
        if workers:
            raise HarnessError("--executor dask takes no --workers: the cluster has as many as it has")
        return on_dask(dask)
    slots = default_slots(workers, parse_devices(devices), each)
    return InlineExecutor(slots[0]) if name == "inline" else LocalExecutor(slots, hours)
