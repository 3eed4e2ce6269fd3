"""A finished training of a workspace, for what is made of its model."""

from harness.api.data import Data
from harness.api.errors import HarnessError
from harness.api.specs import TrainSpec, parse_spec
from harness.run.workspace import Workspace
from results.layout import JobFiles


def finished(workspace: Workspace, train_id: str, checkpoint: str, data: Data) -> tuple[JobFiles, TrainSpec]:
    """The files and the spec of a training that has the checkpoint.

    Raises:
        HarnessError: if its files are not there, or ``data`` is not what it was trained on.
    """
    files = workspace.job(train_id)
    if not files.weights(checkpoint).is_file():
        raise HarnessError(
            f"{files.weights(checkpoint)} is missing: this takes a model that was trained here, "
            "and the folder of that job"
        )
    spec = parse_spec(files.spec.read_text(encoding="utf-8"))
    assert isinstance(spec, TrainSpec)
    if data.fingerprint != spec.dataset.fingerprint:
        raise HarnessError(
            f"{workspace.dataset} has other images (fingerprint {data.fingerprint}) than {train_id} was trained on "
            f"({spec.dataset.fingerprint}): name the right ones with --dataset and --data-root"
        )
    return files, spec
