"""The validation split: held out of the training set, never of the test set."""

import numpy as np

from harness.api.data import Split
from harness.api.errors import HarnessError
from harness.compute.randomness import derive_seed


def hold_out(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """(training, validation): ``fraction`` of the examples is drawn by ``seed`` from every class in proportion.

    Systematic sampling: of the examples ordered by class, and at random within each, every (1 / fraction)-th is held
    out. So the validation split has ``round(fraction * N)`` examples and each class its share to within one; both
    parts keep the split's order.

    Raises:
        HarnessError: if the fraction leaves either part without an example.
    """
    n = len(split)
    order = np.lexsort((np.random.default_rng(derive_seed(seed, "hold-out")).random(n), split.labels))
    held = np.zeros(n, dtype=bool)
    held[order] = np.diff(np.floor(np.arange(n + 1) * fraction + 0.5)) > 0
    if held.all() or not held.any():
        raise HarnessError(
            f"holding out {fraction} of {n} examples leaves {n - held.sum()} to train on and {held.sum()} to validate "
            f"with: both must be at least 1"
        )
    return Split(split.images[~held], split.labels[~held]), Split(split.images[held], split.labels[held])
