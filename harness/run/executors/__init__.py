"""Where jobs run; each executor speaks ``concurrent.futures.Executor``, and gives a call its device as last argument.

Must not know what a job is; Slurm's keeps files in the job's directory.
"""

from harness.api.errors import HarnessError
from harness.run.executors.inline import InlineExecutor
from harness.run.executors.local import LocalExecutor, WorkerDied
from harness.run.executors.slots import Slot, default_slots
from harness.run.executors.slurm import SlurmExecutor, parse_options
from results.layout import WorkspaceFiles

__all__ = [
    "EXECUTORS",
    "InlineExecutor",
    "JobExecutor",
    "LocalExecutor",
    "Slot",
    "SlurmExecutor",
    "WorkerDied",
    "default_slots",
    "executor_for",
]

EXECUTORS = ("local", "inline", "slurm")
JobExecutor = InlineExecutor | LocalExecutor | SlurmExecutor


def executor_for(name: str, workers: int | None, workspace: WorkspaceFiles, slurm: str = "") -> JobExecutor:
    """The executor called ``name``, with so many workers (default: one per device), for jobs of the workspace.

    ``slurm`` has options of sbatch.

    Raises:
        HarnessError: for a name that is not known, no workers at all, or options that are none.
    """
    if name not in EXECUTORS:
        raise HarnessError(f"unknown executor {name!r}. Known: {', '.join(EXECUTORS)}.")
    if workers is not None and workers < 1:
        raise HarnessError(f"--workers must be at least 1, got {workers}")
    if slurm and name != "slurm":
        raise HarnessError(f"--slurm needs --executor slurm, not {name}")
    if name == "slurm":
        return SlurmExecutor(parse_options(slurm), workspace, workers)
    slots = default_slots(workers)
    return InlineExecutor(slots[0]) if name == "inline" else LocalExecutor(slots)
