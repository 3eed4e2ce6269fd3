"""The published formats, read from small files in the same form."""

import gzip
import hashlib
import io
import pickle
import re
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import scipy.io
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100, MNIST, SVHN

from harness.api.errors import HarnessError
from harness.datasets import load, tiny_imagenet

DRAWS = np.random.default_rng(0)


class Published(NamedTuple):
    """A data set as written to ``files``, and what reading it must give: (images, labels) of each split."""

    name: str
    files: list[Path]
    train: tuple[np.ndarray, list[int]]
    test: tuple[np.ndarray, list[int]]
    classes: tuple[str, ...]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pixels(*shape: int) -> np.ndarray:
    return DRAWS.integers(0, 256, shape, dtype=np.uint8)


def pickled(entry: dict) -> bytes:
    """As the published batches, which Python 2 wrote: the flags of a dtype are the integers 0 and 1."""
    modern = pickle.dumps(entry, protocol=2)
    return modern.replace(b"\x89\x88\x87q", b"K\x00K\x01\x87q")


def cifar(source, batches: list[str], labels_key: str, names_key: str, classes, root, patch) -> Published:
    """Two images per batch; the last batch is the test split."""
    images, labels = pixels(2 * len(batches), 3, 32, 32), [i % len(classes) for i in range(2 * len(batches))]
    parts = [slice(2 * i, 2 * i + 2) for i in range(len(batches))]
    entries = {
        name: pickled({"data": images[part].reshape(2, -1), labels_key: labels[part]})
        for name, part in zip(batches, parts, strict=True)
    }
    entries[source.meta["filename"]] = pickled({names_key: list(classes)})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in entries.items():
            member = tarfile.TarInfo(f"{source.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (root / source.filename).write_bytes(buffer.getvalue())
    patch.setattr(source, "tgz_md5", md5(buffer.getvalue()))
    patch.setattr(source, "train_list", [[name, md5(entries[name])] for name in batches[:-1]])
    patch.setattr(source, "test_list", [[batches[-1], md5(entries[batches[-1]])]])
    patch.setattr(source, "meta", {**source.meta, "md5": md5(entries[source.meta["filename"]])})
    train, test = (images[:-2], labels[:-2]), (images[-2:], labels[-2:])
    return Published(source.__name__.lower(), [root / source.filename], train, test, tuple(classes))


def cifar10(root, patch) -> Published:
    batches = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    classes = ("airplane", "automobile", "bird")
    return cifar(CIFAR10, batches, "labels", "label_names", classes, root, patch)


def cifar100(root, patch) -> Published:
    return cifar(CIFAR100, ["train", "test"], "fine_labels", "fine_label_names", ("apple", "bear"), root, patch)


def mnist(root, patch) -> Published:
    train, test = (pixels(4, 28, 28), [5, 0, 4, 1]), (pixels(2, 28, 28), [7, 2])
    contents = []
    for images, labels in (train, test):
        contents.append(struct.pack(">4i", 0x0803, len(images), 28, 28) + images.tobytes())
        contents.append(struct.pack(">2i", 0x0801, len(labels)) + bytes(labels))
    names = [name for name, _ in MNIST.resources]
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    zipped = [gzip.compress(content) for content in contents]
    for name, content in zip(names, zipped, strict=True):
        (raw / name).write_bytes(content)
    patch.setattr(MNIST, "resources", [(name, md5(c)) for name, c in zip(names, zipped, strict=True)])
    splits = [(images[:, None], labels) for images, labels in (train, test)]
    return Published("mnist", [raw / name for name in names], *splits, tuple("0123456789"))


def svhn(root, patch) -> Published:
    """The digit 0 has label 10 in the file."""
    splits, table = {}, {}
    for part, labels in (("train", [1, 10, 9]), ("test", [10, 3])):
        images = pixels(len(labels), 3, 32, 32)
        file = root / f"{part}_32x32.mat"
        scipy.io.savemat(file, {"X": images.transpose(2, 3, 1, 0), "y": np.array(labels, np.uint8)[:, None]})
        splits[part] = images, [label % 10 for label in labels]
        table[part] = [SVHN.split_list[part][0], file.name, md5(file.read_bytes())]
    patch.setattr(SVHN, "split_list", table)
    files = [root / entry[1] for entry in table.values()]
    return Published("svhn", files, splits["train"], splits["test"], tuple("0123456789"))


def tiny(root, patch) -> Published:
    """Two classes of two JPEG files (one of them grey), listed out of order."""
    contents, decoded = {}, {}
    for number, name in enumerate(["n02_1", "n02_0", "n01_1", "n01_0", "val_1", "val_0"]):
        buffer = io.BytesIO()
        Image.fromarray(pixels(64, 64) if number == 3 else pixels(64, 64, 3)).save(buffer, "JPEG")
        folder = "val" if name.startswith("val") else f"train/{name[:3]}"
        contents[f"{folder}/images/{name}.JPEG"] = buffer.getvalue()
        decoded[name] = np.asarray(Image.open(buffer).convert("RGB")).transpose(2, 0, 1)
    contents["wnids.txt"] = b"n02\nn01\n"
    contents["train/n01/n01_boxes.txt"] = b"n01_0.JPEG\t0\t0\t62\t62\n"
    contents["val/val_annotations.txt"] = b"val_1.JPEG\tn01\t0\t32\t44\t62\nval_0.JPEG\tn02\t52\t55\t57\t59\n"
    file = root / "tiny-imagenet-200.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
    patch.setattr(tiny_imagenet, "MD5", md5(file.read_bytes()))
    train = np.stack([decoded[name] for name in ("n01_0", "n02_0", "n01_1", "n02_1")]), [0, 1, 0, 1]
    test = np.stack([decoded["val_0"], decoded["val_1"]]), [1, 0]
    return Published("tiny-imagenet", [file], train, test, ("n01", "n02"))


@pytest.fixture(params=[mnist, cifar10, cifar100, svhn, tiny], ids=lambda write: write.__name__)
def published(request, tmp_path, monkeypatch):
    return request.param(tmp_path, monkeypatch)


def check(data, published: Published) -> None:
    assert data.name == published.name
    assert data.classes == published.classes
    for found, (images, labels) in ((data.train, published.train), (data.test, published.test)):
        np.testing.assert_array_equal(found.images, images)
        assert found.labels.tolist() == labels


def test_the_published_format_is_read_exactly(published, tmp_path):
    check(load(published.name, tmp_path), published)


def test_the_second_load_needs_the_published_files_no_more(published, tmp_path):
    first = load(published.name, tmp_path)
    for file in published.files:
        file.unlink()
    second = load(published.name, tmp_path)
    check(second, published)
    assert second.fingerprint == first.fingerprint


def test_a_corrupt_file_is_named_with_both_checksums_and_left_alone(published, tmp_path):
    file = published.files[-1]
    expected, content = md5(file.read_bytes()), file.read_bytes()[:-1] + b"?"
    file.write_bytes(content)
    message = f"{file} is corrupt: its MD5 is {md5(content)}, expected {expected}. Delete it"
    with pytest.raises(HarnessError, match=re.escape(message)):
        load(published.name, tmp_path)
    assert file.read_bytes() == content
    assert not list((tmp_path / "cache").glob("*/"))
