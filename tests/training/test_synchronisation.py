"""Between the beginning and the end of an epoch nothing waits for the device: steps are queued ahead of it."""

import pytest
import torch
from synchronising import Synchronisations

from harness.api.method import methods
from harness.plugins import load_plugins
from harness.training.loop import train
from results.layout import JobFiles

load_plugins()


@pytest.mark.parametrize("use", [float, bool, lambda x: x[x > 0], lambda x: x.nonzero()])
def test_what_makes_a_host_wait_is_seen(use):
    with Synchronisations() as seen:
        use(torch.ones(1) + 1)
    assert len(seen.names) == 1


@pytest.mark.parametrize("method", [name for name, method in methods.items() if method.group == "all"])
def test_an_epoch_of_twice_as_many_steps_waits_no_more_often(method, train_spec, digits, tmp_path):
    """Of 32 training images each time; ``random_epochs`` of 0 lets the contrast choose its negatives by logits too."""

    def waits(batch_size):
        with Synchronisations() as seen:
            settings = [f"{method}.random_epochs=0"] if hasattr(methods[method], "random_epochs") else []
            spec = train_spec(
                method, settings=settings, epochs=1, examples=40, batch_size=batch_size, augmentation="crop-flip"
            )
            train(spec, digits, torch.device("cpu"), JobFiles(tmp_path / str(batch_size)), lambda _: None)
        return len(seen.names)

    assert waits(8) == waits(16) > 0
