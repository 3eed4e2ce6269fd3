"""Image folders: order, channels, and what is said of odd files."""

import logging
import os
import re
from pathlib import Path

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


def latin(path: Path) -> Path:
    """The same file or folder under a name of bytes that are no UTF-8, as old archives have them."""
    new = path.with_name(os.fsdecode(b"bl\xe9") + path.suffix)
    return path.rename(new)


def test_names_that_are_no_utf_8_are_loaded_and_shown_by_their_bytes(images, tmp_path, caplog):
    latin(images / "train" / "cat" / "00001.png")
    for part in ("train", "test"):
        latin(images / part / "cat")
    images = latin(images)
    for _ in ("built", "from the cache"):
        data = load(f"imagefolder:{images}", tmp_path / "root")
        assert (data.name, data.classes) == (r"imagefolder:bl\xe9", (r"bl\xe9", "dog"))
        assert data.train.labels.tolist() == [1, 1, 0]
        np.testing.assert_array_equal(data.train.images[2], picture(1).transpose(2, 0, 1))
    (images / "train" / os.fsdecode(b"bl\xe9") / "x.png").write_bytes(b"")
    with pytest.raises(HarnessError) as caught:
        load(f"imagefolder:{images}", tmp_path / "root")
    assert str(caught.value).encode().count(rb"bl\xe9") == 2


def test_a_folder_may_have_the_longest_name_there_is(images, tmp_path):
    before = load(f"imagefolder:{images}", tmp_path / "root")
    for letter in "xä":
        path = images = images.rename(images.with_name((letter * 255).encode()[:254].decode()))
        for _ in ("built", "from the cache"):
            data = load(f"imagefolder:{path}", tmp_path / "root")
            assert (data.name, data.fingerprint) == (f"imagefolder:{path.name}", before.fingerprint)


@pytest.mark.parametrize("link", ["train/cat/9.png", "test/cat/9.png", "train/fox", "test"])
def test_a_broken_or_circular_link_is_named_with_where_it_points(images, load_it, tmp_path, link):
    load_it()
    if link == "test":
        (images / "test").rename(images / "val")
    for target in ("/nowhere/9.png", str(images / link)):
        (images / link).symlink_to(target)
        with pytest.raises(HarnessError, match=rf"{images / link} is a broken link \(to {target}\)"):
            load_it()
        (images / link).unlink()


def test_links_to_images_and_folders_are_followed(images, load_it):
    before = load_it()
    for name in ("train/cat/00001.png", "test/dog"):
        (images / name).symlink_to((images / name).rename(images / "elsewhere").rename(images / Path(name).name))
    after = load_it()
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "a\0b", "x" * 300])
def test_a_path_that_cannot_be_one_is_refused(tmp_path, path):
    with pytest.raises(HarnessError, match=f"the image folder .*{path[:9]}.* cannot be read: "):
        load(f"imagefolder:{path}", tmp_path)


def test_a_folder_that_points_to_itself_is_refused(images, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(HarnessError, match=r"loop"):
        load(f"imagefolder:{loop}", tmp_path)


def test_what_is_called_an_image_and_is_no_file_is_passed_over(images, load_it, caplog):
    """To read a pipe would wait for ever."""
    before = load_it().fingerprint
    os.mkfifo(images / "train" / "cat" / "x.png")
    assert load_it().fingerprint == before
    assert caplog.messages[0].endswith("passed over 1 files of other types")


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_beside_the_class_folders_are_counted_and_said(images, load_it, caplog, part):
    expected = load_it().fingerprint
    for number in range(2):
        write(images / part / f"{number}.png", picture(number))
    (images / part / "labels.csv").touch()
    assert load_it().fingerprint == expected
    assert caplog.messages == [f"{images / part}: passed over 2 images beside the class folders"]
    for file in images.glob("test/*/*"):
        file.unlink()
    write(images / "test" / "2.png", picture(2))
    with pytest.raises(
        HarnessError, match=r"no images in .*test/<class>, but [13] images beside the class folders: exp"
    ):
        load_it()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["0", "1", "2", "10"], "0, 1, 10, 2: for the order of the numbers, .* (00, 01, 02, 10)"),
        (["1", "02"], "02, 1: .* (01, 02)"),
        (["9", "100"], "100, 9: .* (009, 100)"),
        (["00", "01", "10"], None),
        (["0", "1"], None),
        (["2", "10", "cat"], None),
        ([str(n) for n in range(15)], "0, 1, 10, 11, 12, 13, 14, 2, 3, 4, 5, 6, ...: .* (00, 01, .*, 11, ...)"),
    ],
)
def test_numbers_that_are_sorted_as_text_are_said_to_be(tmp_path, caplog, names, said):
    """Labels are positions in that order, and stay so."""
    for name in names:
        for part in ("train", "test"):
            write(tmp_path / part / name / "0.png", picture(0))
    data = load(f"imagefolder:{tmp_path}", tmp_path / "root")
    assert data.classes == tuple(sorted(names))
    assert data.train.labels.tolist() == list(range(len(names)))
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(messages) == (said is not None)
    assert not said or re.search(re.escape(said).replace(r"\.\*", ".*"), messages[0])


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
