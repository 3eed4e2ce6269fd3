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
