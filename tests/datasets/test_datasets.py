"""Splits, the fingerprint, the validation split, the embedded digits, and the cache."""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from harness.api.data import Data, Split, channel_statistics, fingerprint
from harness.api.errors import HarnessError, UnknownName
from harness.datasets import load
from harness.datasets.cache import cached
from harness.datasets.holdout import hold_out


def split_of(labels) -> Split:
    """One 2x2 image per label, whose four bytes are the example's own number."""
    numbers = np.arange(len(labels), dtype=np.uint32)
    return Split(numbers.view(np.uint8).reshape(-1, 1, 2, 2), np.asarray(labels, dtype=np.int64))


def numbers_of(split: Split) -> list[int]:
    return np.ascontiguousarray(split.images).reshape(-1, 4).view(np.uint32).ravel().tolist()


def random_split(n=12, channels=3, seed=0) -> Split:
    draws = np.random.default_rng(seed)
    return Split(draws.integers(0, 256, (n, channels, 4, 4), dtype=np.uint8), draws.integers(0, 3, n))


def data_of(**changes: Split) -> Data:
    splits = {"train": random_split(), "test": random_split(6, seed=1), **changes}
    return Data("shapes", classes=("a", "b", "c"), **splits)


def test_head_takes_the_first_examples_in_order():
    split = split_of([2, 0, 1, 2])
    assert numbers_of(split.head(2)) == [0, 1]
    assert split.head(2).labels.tolist() == [2, 0]
    assert len(split.head(None)) == len(split.head(9)) == 4


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (
            np.zeros((2, 1, 4, 4), np.float32),
            np.zeros(2, np.int64),
            r"images must be uint8 \(N, C, H, W\), got float32",
        ),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2, np.int64), r"got uint8 \(2, 4, 4\)"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(3, np.int64), r"labels must be int64 \(2,\), got int64 \(3,\)"),
        (np.zeros((2, 1, 4, 4), np.uint8), np.zeros(2, np.int32), r"labels must be int64 \(2,\), got int32"),
    ],
)
def test_a_split_of_other_types_or_shapes_is_refused(images, labels, message):
    with pytest.raises(HarnessError, match=message):
        Split(images, labels)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": random_split().head(0)}, "training split of shapes has no images"),
        ({"test": random_split(channels=1)}, r"test split of shapes has images \(C, H, W\) = \(1, 4, 4\)"),
        (
            {"train": Split(np.zeros((2, 3, 4, 5), np.uint8), np.zeros(2, np.int64))},
            r"test split of shapes .* = \(3, 4, 4\), the training split \(3, 4, 5\)",
        ),
        ({"test": Split(np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 3]))}, "labels from 0 to 3, but there are 3"),
        ({"test": Split(np.zeros((2, 3, 4, 4), np.uint8), np.array([-1, 2]))}, "labels from -1 to 2"),
    ],
)
def test_data_that_no_model_could_learn_from_is_refused(changes, message):
    with pytest.raises(HarnessError, match=message):
        data_of(**changes)


def test_the_shape_of_a_data_set_is_that_of_its_images():
    data = data_of()
    assert (data.num_classes, data.channels, data.size) == (3, 3, 4)


def test_the_fingerprint_hashes_every_byte_of_both_splits_in_order():
    train, test = random_split(), random_split(6, seed=1)
    text = b"".join(
        f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
        for array in (train.images, train.labels, test.images, test.labels)
    )
    assert data_of().fingerprint == hashlib.sha256(text).hexdigest()[:16] == fingerprint(train, test)
    images = train.images.copy()
    images[-1, -1, -1, -1] ^= 1
    labels = test.labels.copy()
    labels[-1] = (labels[-1] + 1) % 3
    others = [
        fingerprint(Split(images, train.labels), test),
        fingerprint(train, Split(test.images, labels)),
        fingerprint(Split(train.images[::-1], train.labels[::-1]), test),
        fingerprint(test, train),
    ]
    assert len({fingerprint(train, test), *others}) == 5


def test_the_statistics_are_those_of_the_training_pixels_in_unit_range():
    data, pixels = data_of(), random_split().images / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)), rel=1e-12)
    assert data.std == pytest.approx(pixels.std((0, 2, 3)), rel=1e-12)


def test_the_statistics_of_more_images_than_one_chunk_count_them_all():
    images = np.concatenate([np.zeros((5000, 1, 1, 1), np.uint8), np.full((5000, 1, 1, 1), 255, np.uint8)])
    assert channel_statistics(images) == ((0.5,), (0.5,))


def test_a_constant_channel_can_be_divided_by_its_standard_deviation():
    assert channel_statistics(np.full((3, 1, 2, 2), 51, np.uint8)) == ((pytest.approx(0.2),), (1 / 255,))


@given(
    labels=st.lists(st.integers(0, 4), min_size=20, max_size=80),
    fraction=st.floats(0.1, 0.9),
    seed=st.integers(0, 2**31),
)
def test_a_validation_split_is_a_stratified_partition_that_keeps_the_order(labels, fraction, seed):
    """Every class gives its share to within one example, and the whole is the rounded share."""
    split = split_of(labels)
    training, validation = hold_out(split, fraction, seed)
    kept, held = numbers_of(training), numbers_of(validation)
    assert sorted(kept + held) == list(range(len(labels)))
    assert kept == sorted(kept)
    assert held == sorted(held)
    assert abs(len(held) - fraction * len(labels)) <= 0.5 + 1e-9
    assert [labels[number] for number in held] == validation.labels.tolist()
    for label in set(labels):
        assert abs((validation.labels == label).sum() - fraction * labels.count(label)) < 1 + 1e-9


def test_equal_classes_give_equally_many_validation_examples():
    _, validation = hold_out(split_of([0, 1, 2, 3, 4] * 50), 0.1, 0)
    assert np.bincount(validation.labels).tolist() == [5] * 5


def test_the_validation_split_is_fixed_by_the_seed_alone():
    split = split_of([0, 1] * 100)
    draws = [numbers_of(hold_out(split, 0.1, seed)[1]) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(("n", "fraction", "left"), [(4, 0.1, "4 to train on and 0"), (4, 0.9, "0 to train on and 4")])
def test_a_validation_split_that_takes_nothing_or_everything_is_refused(n, fraction, left):
    with pytest.raises(HarnessError, match=f"holding out {fraction} of 4 examples leaves {left}"):
        hold_out(split_of([0] * n), fraction, 0)


def test_digits_are_the_images_of_scikit_learn_scaled_to_bytes(digits):
    """Together the splits are the 1,797 images, each once, with 0..16 spread over 0..255."""
    levels, labels = load_digits(return_X_y=True)
    scaled = [[round(level * 255 / 16) for level in image] for image in levels.tolist()]
    expected = sorted((image, label) for image, label in zip(scaled, labels.tolist(), strict=True))
    found = [
        (image, label)
        for split in (digits.train, digits.test)
        for image, label in zip(split.images.reshape(-1, 64).tolist(), split.labels.tolist(), strict=True)
    ]
    assert sorted(found) == expected
    assert digits.train.images.shape == (1300, 1, 8, 8)
    assert digits.test.images.shape == (497, 1, 8, 8)
    assert digits.classes == tuple("0123456789")


def test_digits_are_split_alike_every_time_and_in_proportion(digits, tmp_path):
    assert load("digits", tmp_path).fingerprint == digits.fingerprint
    shares = np.bincount(load_digits().target) * 497 / 1797
    assert np.abs(np.bincount(digits.test.labels) - shares).max() < 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_data_set_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(UnknownName, match=r"unknown data set 'cifar-100'. Did you mean 'cifar100'\?.*imagefolder:PATH"):
        load("cifar-100", tmp_path)


def test_what_the_cache_gives_back_is_what_was_built(tmp_path):
    built = data_of()
    for data in (cached(tmp_path, "shapes", lambda: built), cached(tmp_path, "shapes", pytest.fail)):
        for part in ("train", "test"):
            np.testing.assert_array_equal(getattr(data, part).images, getattr(built, part).images)
            np.testing.assert_array_equal(getattr(data, part).labels, getattr(built, part).labels)
        for field in ("name", "classes", "fingerprint", "mean", "std"):
            assert getattr(data, field) == getattr(built, field)
        assert torch.tensor(data.train.images).shape == (12, 3, 4, 4)


def test_of_several_that_start_at_once_one_builds_and_the_others_wait(tmp_path):
    builds, barrier = [], threading.Barrier(4)

    def build():
        builds.append(1)
        time.sleep(0.2)
        return data_of()

    def start(_):
        barrier.wait()
        return cached(tmp_path, "shapes", build).fingerprint

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(start, range(4))) == {data_of().fingerprint}
    assert len(builds) == 1
    assert len([entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()]) == 1


def test_a_full_disk_leaves_no_half_a_cache_behind(tmp_path, monkeypatch):
    def full(file, array):
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(HarnessError, match=r"cannot keep the decoded shapes in .*No space left on device"):
            cached(tmp_path, "shapes", data_of)
    assert [entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()] == []
    assert cached(tmp_path, "shapes", data_of).fingerprint == data_of().fingerprint


def test_a_damaged_cache_is_named_and_not_used(tmp_path):
    cached(tmp_path, "shapes", data_of)
    (file,) = (tmp_path / "cache").glob("shapes*/train_images.npy")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(HarnessError, match=f"{file.parent} is damaged .*delete that folder"):
        cached(tmp_path, "shapes", data_of)


def test_a_place_that_cannot_be_written_to_is_named_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=r"cannot write to .*file/cache .*--data-root"):
        cached(tmp_path / "file", "shapes", pytest.fail)
