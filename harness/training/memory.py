"""A training step that takes too much memory, and how many images it could take."""

from collections.abc import Callable
from typing import TypeVar

from harness.api.errors import HarnessError
from harness.compute.memory import fitting, ran_out

T = TypeVar("T")


class BatchTooLarge(HarnessError, MemoryError):
    """A training step takes more memory than there is."""


def within_memory(step: Callable[[int], T], size: int) -> T:
    """``step(size)``, the training step on so many images of a batch.

    Raises:
        BatchTooLarge: if memory runs out; the message says how many images would fit. The model, on which smaller
            steps were tried, is of no use then.
    """
    try:
        return step(size)
    except Exception as error:
        if not ran_out(error):
            raise
    # Nothing holds the activations of that step any more.
    what = f"a training step of {size} images takes more memory than there is"
    try:
        _, fits = fitting(step, size // 2)
    except Exception:  # or one image is too few for a BatchNorm
        raise BatchTooLarge(f"{what}, as does a smaller one: choose a smaller --model, or fewer --workers") from None
    raise BatchTooLarge(
        f"{what}; {fits} fit: choose --set protocol.batch_size={fits} (for all methods), or fewer --workers"
    )
