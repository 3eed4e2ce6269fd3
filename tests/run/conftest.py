"""The Slurm that tests run on."""

from pathlib import Path

import one_node
import pytest

from harness.run.executors import slurm as executor


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
