"""Verdicts, one bool an example, and the bits that the store keeps of them."""

import numpy as np
from numpy.typing import NDArray

Verdicts = NDArray[np.bool_]


def pack(verdicts: Verdicts) -> bytes:
    """Verdicts (N,) as ceil(N / 8) bytes, first example in the highest bit."""
    return np.packbits(verdicts).tobytes()


def unpack(bits: bytes, examples: int) -> Verdicts:
    """The verdicts (``examples``,) that :func:`pack` made ``bits`` of."""
    return np.unpackbits(np.frombuffer(bits, np.uint8), count=examples).astype(np.bool_)
