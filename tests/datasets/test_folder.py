"""Image folders: order, channels, and what is said of odd files."""

import os
import re

import numpy as np
import pytest
from PIL import Image

from harness.api.errors import HarnessError
from harness.datasets import folder, load


def picture(seed: int, shape=(4, 4, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write(file, array) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)


@pytest.fixture
def images(tmp_path):
    """Three training images of cats and dogs, numbered across the classes, and two test images."""
    path = tmp_path / "pets"
    for number, label in enumerate(("dog", "cat", "dog")):
        write(path / "train" / label / f"{number:05d}.png", picture(number))
    for number, label in enumerate(("dog", "cat")):
        write(path / "test" / label / f"{number:05d}.png", picture(10 + number))
    return path


@pytest.fixture
def load_it(images, tmp_path):
    return lambda: load(f"imagefolder:{images}", tmp_path / "root")


def test_images_are_in_the_order_of_their_names_across_the_classes(load_it):
    data = load_it()
    assert data.name == "imagefolder:pets"
    assert data.classes == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0, 1]
    assert data.test.labels.tolist() == [1, 0]
    for split, first in ((data.train, 0), (data.test, 10)):
        expected = [picture(first + number).transpose(2, 0, 1) for number in range(len(split))]
        np.testing.assert_array_equal(split.images, expected)


def test_files_of_one_name_are_in_the_order_of_their_classes(images, load_it):
    write(images / "train" / "cat" / "00000.png", picture(7))
    data = load_it()
    assert data.train.labels.tolist() == [0, 1, 0, 1]
    np.testing.assert_array_equal(data.train.images[0], picture(7).transpose(2, 0, 1))


def test_val_stands_in_where_there_is_no_test(images, load_it):
    before = load_it().fingerprint
    (images / "test").rename(images / "val")
    assert load_it().fingerprint == before


def test_other_files_and_hidden_folders_do_not_count(images, load_it):
    before = load_it().fingerprint
    (images / "train" / "cat" / "notes.txt").write_text("meow")
    (images / "train" / ".checkpoints").mkdir()
    assert load_it().fingerprint == before


def test_grey_images_have_one_channel_and_any_colour_image_gives_all_three(tmp_path):
    grey = picture(1, (4, 4))
    for name in ("train/only/0.png", "train/only/1.png", "test/only/0.png"):
        write(tmp_path / "grey" / name, grey)
    np.testing.assert_array_equal(load(f"imagefolder:{tmp_path / 'grey'}", tmp_path).train.images, [[grey]] * 2)
    for odd, other in (("0.png", 1), ("1.png", 0)):
        write(tmp_path / odd / "train" / "only" / odd, picture(2))
        write(tmp_path / odd / "train" / "only" / f"{other}.png", grey)
        write(tmp_path / odd / "test" / "only" / "0.png", grey)
        np.testing.assert_array_equal(load(f"imagefolder:{tmp_path / odd}", tmp_path).train.images[other], [grey] * 3)


def test_the_second_load_decodes_nothing(load_it, monkeypatch):
    before = load_it()
    monkeypatch.setattr(folder, "decode", lambda *_: pytest.fail("decoded again"))
    after = load_it()
    assert after.fingerprint == before.fingerprint
    np.testing.assert_array_equal(after.train.images, before.train.images)


def test_a_changed_added_or_removed_file_is_noticed(images, load_it):
    prints = [load_it().fingerprint]
    file = images / "train" / "cat" / "00001.png"
    before = file.stat()
    write(file, picture(99))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    prints.append(load_it().fingerprint)
    write(images / "train" / "cat" / "00003.png", picture(3))
    prints.append(load_it().fingerprint)
    file.unlink()
    prints.append(load_it().fingerprint)
    assert len(set(prints)) == 4


def test_the_name_of_a_relative_path_is_its_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    assert load("imagefolder:.", tmp_path / "root").name == "imagefolder:pets"


@pytest.mark.parametrize("part", ["train", "test"])
def test_an_image_of_another_size_is_named(images, load_it, part):
    odd = images / part / "cat" / "00007.png"
    write(odd, picture(0, (4, 6, 3)))
    with pytest.raises(HarnessError, match=f"{re.escape(str(odd))} is 6x4 pixels, but .*00000.png is 4x4"):
        load_it()


def test_a_broken_image_is_named(images, load_it):
    odd = images / "train" / "cat" / "00001.png"
    odd.write_bytes(odd.read_bytes()[:60])
    with pytest.raises(HarnessError, match=f"cannot decode the image {re.escape(str(odd))}"):
        load_it()
    odd.write_bytes(b"")
    with pytest.raises(HarnessError, match=r"00001.png: it is empty, or no image of a known format$"):
        load_it()
    odd.write_text("not an image")
    with pytest.raises(HarnessError, match=f"cannot decode the image {re.escape(str(odd))}"):
        load_it()


def test_an_image_with_16_bits_is_refused_instead_of_cut_off(images, load_it):
    write(images / "train" / "cat" / "00001.png", np.full((4, 4), 40_000, np.uint16))
    with pytest.raises(HarnessError, match=r"00001.png has more than 8 bits per channel \(mode I;16\)"):
        load_it()


def test_images_need_not_be_square(tmp_path):
    for part in ("train", "test"):
        write(tmp_path / "wide" / part / "only" / "0.png", picture(0, (4, 6, 3)))
    data = load(f"imagefolder:{tmp_path / 'wide'}", tmp_path / "root")
    np.testing.assert_array_equal(data.train.images[0], picture(0, (4, 6, 3)).transpose(2, 0, 1))
    assert data.size == 6


def test_what_is_passed_over_is_counted_and_said(images, load_it, caplog):
    """Such as what other systems leave behind, and images one folder deeper than the others."""
    expected = load_it().fingerprint
    assert not caplog.text
    for name in ("._00000.png", ".DS_Store", "notes.txt"):
        (images / "train" / "cat" / name).write_bytes(b"")
    write(images / "train" / "dog" / "more" / "0.png", picture(0))
    assert load_it().fingerprint == expected
    (said,) = caplog.messages
    assert said.endswith("passed over 1 files of other types, 2 hidden files, 1 images in folders below a class's own")
    (images / "train" / "cat" / "00001.png").unlink()
    write(images / "train" / "cat" / "more" / "0.png", picture(0))
    with pytest.raises(HarnessError, match=r"cat has no images of its own, but 1 in folders below: expected"):
        load_it()


def test_folders_that_lack_something_are_explained(images, load_it):
    (images / "train" / "fox").mkdir()
    with pytest.raises(HarnessError, match=r"class folder .*fox has no images: expected .*/train/<class>/"):
        load_it()
    (images / "train" / "fox").rmdir()
    write(images / "test" / "fox" / "0.png", picture(0))
    with pytest.raises(HarnessError, match=r"class folder .*test/fox has no counterpart .*train/fox"):
        load_it()
    (images / "test").rename(images / "tests")
    with pytest.raises(HarnessError, match=r"there is no folder .*val: expected .*/test/<class>"):
        load_it()
    (images / "val").mkdir()
    with pytest.raises(HarnessError, match=r"there are no images in .*val/<class>"):
        load_it()
