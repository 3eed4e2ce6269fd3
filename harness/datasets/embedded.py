"""The data set that needs no download."""

from pathlib import Path

import numpy as np

from harness.api.data import Data, Split, dataset

TEST_EXAMPLES = 497


@dataset("digits")
def digits(root: Path) -> Data:
    """1,797 handwritten digits of 8x8 pixels, shipped with scikit-learn: 1,300 to train, 497 to test.

    The grey levels 0..16 become ``round(level * 255 / 16)``; the split is stratified and fixed. ``root`` is not used.
    Alpaydin and Kaynak 1998, https://archive.ics.uci.edu/dataset/80.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    levels, labels = load_digits(return_X_y=True)
    images = np.rint(levels * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    x_train, x_test, y_train, y_test = train_test_split(
        images, labels.astype(np.int64), test_size=TEST_EXAMPLES, random_state=0, stratify=labels
    )
    return Data("digits", Split(x_train, y_train), Split(x_test, y_test), tuple("0123456789"))
