"""Data sets in a file of arrays."""

import re

import numpy as np
import pytest

from harness.api.errors import HarnessError
from harness.datasets import load, stamp

COLOUR = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 4), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 1, 0, 2], dtype=np.int32)


def write(file, **changes):
    arrays = {"x_train": COLOUR[:4], "y_train": LABELS[:4], "x_test": COLOUR[4:], "y_test": LABELS[4:], **changes}
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return f"npz:{file}"


def test_arrays_are_read_as_they_were_written(tmp_path):
    data = load(write(tmp_path / "pets.npz"), tmp_path)
    assert (data.name, data.classes, data.channels, data.size) == ("npz:pets", ("0", "1", "2"), 3, 5)
    for split, part in ((data.train, slice(4)), (data.test, slice(4, 6))):
        np.testing.assert_array_equal(split.images, COLOUR[part])
        np.testing.assert_array_equal(split.labels, LABELS[part])


def test_channels_may_come_last_or_be_left_out_and_classes_have_names(tmp_path):
    first = load(write(tmp_path / "a.npz"), tmp_path)
    last = {
        f"x_{split}": images.transpose(0, 2, 3, 1) for split, images in (("train", COLOUR[:4]), ("test", COLOUR[4:]))
    }
    named = load(write(tmp_path / "b.npz", **last, classes=np.array(["cat", "dog", "eel"])), tmp_path)
    assert named.fingerprint == first.fingerprint
    assert named.classes == ("cat", "dog", "eel")
    grey = load(write(tmp_path / "c.npz", x_train=COLOUR[:4, 0], x_test=COLOUR[4:, 0]), tmp_path)
    np.testing.assert_array_equal(grey.train.images, COLOUR[:4, :1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_test": None}, "lacks y_test: it must hold x_train, y_train, x_test, y_test"),
        ({"x_train": COLOUR[:4] / 255}, "got float64 (4, 3, 5, 4): write (255 * x).round().astype('uint8')"),
        ({"x_train": COLOUR[:4].repeat(2, 1)}, "with 1 or 3 channels, got uint8 (4, 6, 5, 4)"),
        ({"y_train": np.eye(4)}, "y_train in"),
        ({"y_train": LABELS}, "labels must be int64 (4,), got int64 (6,)"),
        ({"y_test": np.array([0, 3])}, "labels from 0 to 3, but there are 3 classes"),
        ({"classes": np.array([{}], dtype=object)}, "cannot be read as numpy.savez writes it"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, changes, said):
    with pytest.raises(HarnessError, match=re.escape(said)):
        load(write(tmp_path / "odd.npz", **changes), tmp_path)


def test_a_missing_file_or_one_of_another_kind_is_an_error(tmp_path):
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("nowhere.npz", "text.npz"):
        with pytest.raises(HarnessError, match=rf"{name} cannot be read as numpy.savez"):
            load(f"npz:{tmp_path / name}", tmp_path)


def test_another_file_has_another_stamp(tmp_path):
    name = write(tmp_path / "a.npz")
    before = stamp(name, tmp_path)
    assert stamp(name, tmp_path) == before
    write(tmp_path / "a.npz", classes=np.array(["a", "b", "c"]))
    assert stamp(name, tmp_path) != before
