"""Whatever is wrong with an image file, the error names it."""

import io

import numpy as np
import pytest
from PIL import Image

from harness.api.errors import HarnessError
from harness.datasets.decode import decode

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind)
    return file.getvalue()


DAMAGED = {
    "short header (ValueError)": b"P6\n8",
    "short chunk (ValueError)": encoded("PNG").replace(b"\0\0\0\rIHDR", b"\0\0\0\x02IHDR"),
    "no frame (RuntimeError)": encoded("AVIF").replace(b"iloc", b"iloX"),
    "half": encoded("PNG")[:100],
    "empty": b"",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 3\n",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=list(DAMAGED))
def test_a_damaged_image_is_named(content):
    with pytest.raises(HarnessError, match=r"cannot decode the image odd\.png: \w+"):
        decode(["odd.png"], lambda _: io.BytesIO(content))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad"), "bad"),
        (RuntimeError(), "RuntimeError"),
        (KeyError("x"), "'x'"),
        (OSError(5, "I/O"), ".*I/O"),
    ],
)
def test_whatever_a_decoder_raises_the_image_is_named(monkeypatch, error, said):
    def fails(*_):
        raise error

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(HarnessError, match=rf"^cannot decode the image odd\.png: {said}$"):
        decode(["odd.png"], lambda _: io.BytesIO(b""))


def blank(width: int, height: int) -> bytes:
    """A black PNG of that size in a few kilobytes."""
    file = io.BytesIO()
    Image.new("1", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("first", [True, False])
def test_an_image_that_is_far_too_large_is_refused_by_its_header(monkeypatch, first):
    """Of its 144 million pixels, none is decoded: neither where it would set the size, nor where another did."""
    content = {"odd.png": blank(12_000, 12_000), "first.png": encoded("PNG")}
    loaded = []
    monkeypatch.setattr(
        Image.Image, "convert", lambda image, mode: loaded.append(image.size) or Image.fromarray(PIXELS)
    )
    with pytest.raises(
        HarnessError, match=r"cannot decode the image odd\.png: Image size \(144000000 pixels\) exceeds"
    ):
        decode(["odd.png"] if first else ["first.png", "odd.png"], lambda name: io.BytesIO(content[name]))
    assert loaded == ([] if first else [(8, 8)])


def test_another_size_is_refused_by_the_header(monkeypatch):
    content = {"odd.png": blank(3_000, 2_000), "first.png": encoded("PNG")}
    loaded, convert = [], Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda image, mode: loaded.append(image.size) or convert(image, mode))
    with pytest.raises(HarnessError, match=r"odd\.png is 3000x2000 pixels, but first\.png is 8x8: all must have one"):
        decode(["first.png", "odd.png"], lambda name: io.BytesIO(content[name]))
    assert loaded == [(8, 8)]
