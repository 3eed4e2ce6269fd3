"""The Slurm that tests run on, and a small graph of jobs with a workspace for it."""

from pathlib import Path

import one_node
import pytest

from harness.plan.graph import Request, plan
from harness.run.executors import slurm as executor
from harness.run.workspace import Workspace


@pytest.fixture(scope="session")
def slurm():
    """A Slurm whose jobs can import what the tests give them, and which is asked often."""
    if not one_node.answers():
        pytest.skip("no Slurm runs here: tox run -e tools starts one, as root")
    pytest.importorskip("submitit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executor, "POLL_SECONDS", 0.3)
        patch.setenv("PYTHONPATH", str(Path(one_node.__file__).parent), prepend=":")
        yield


@pytest.fixture
def here(tmp_path):
    return Workspace(tmp_path, "digits", tmp_path / "data")


@pytest.fixture(scope="module")
def jobs(digits):
    """Of PGD-AT and TRADES each a training, ``natural``, ``fgsm`` and a diagnosis, by title."""
    asked = plan(Request(methods=["pgd-at", "trades"], data=digits, attacks=["fgsm"], checkpoints=["last"]))
    return {job.title: job for job in asked}
