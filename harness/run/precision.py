"""What the precision ``auto`` stands for in one run."""

from collections.abc import Mapping, Sequence

from harness.api.specs import Precision, TrainSpec
from harness.compute.precision import device_speedup, in_words, preferred
from harness.plan.graph import Job
from harness.run.executors import JobExecutor
from harness.run.workspace import Workspace


def resolve(
    plans: Mapping[Precision, Sequence[Job]], workspace: Workspace, pool: JobExecutor
) -> tuple[Precision, str | None]:
    """Which of the plans of one request, by what ``auto`` stands for in them, is to be run, and why in words.

    That of which the workspace holds more trainings, finished or begun: nothing is trained twice because it was begun
    elsewhere. Otherwise bfloat16 if every device of ``pool`` is faster in it, and float32 if not. Where the plans are
    the same, since a precision was asked for, there is nothing to say: None.
    """
    ids = {auto: [job.id for job in jobs if isinstance(job.spec, TrainSpec)] for auto, jobs in plans.items()}
    if ids["float32"] == ids["bfloat16"]:
        return "float32", None
    begun = {auto: sum(workspace.job(train_id).spec.exists() for train_id in each) for auto, each in ids.items()}
    if begun["float32"] != begun["bfloat16"]:
        return max(begun, key=begun.__getitem__), "as the jobs in this workspace"
    speedup = min(measured.result() for measured in pool.everywhere(device_speedup))
    return preferred(speedup), in_words(speedup)
