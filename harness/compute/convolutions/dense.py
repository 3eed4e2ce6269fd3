"""On maps of a few pixels a convolution as one matrix product: most taps of a 3x3 filter fall beside such a map."""

from itertools import product

import torch.nn.functional as F
from torch import Tensor, nn

# A direct convolution multiplies nine times for each pixel, channel and output, wherever the taps fall.
_TAPS = 9
# Images from which reading the matrix costs little.
_MANY = 8


def pays(module: nn.Conv2d, x: Tensor) -> bool:
    """Where there are fewer pixels than taps."""
    return x.shape[2] * x.shape[3] < _TAPS and len(x) >= _MANY


def prepare(weight: Tensor, height: int, width: int) -> tuple[Tensor]:
    """The matrix (height * width * K, height * width * C) of filters (K, C, 3, 3), channels last."""
    out, channels = weight.shape[:2]
    matrix = weight.new_zeros(height, width, out, height, width, channels)
    for y, x in product(range(height), range(width)):
        for down, across in product(range(3), range(3)):
            row, column = y + down - 1, x + across - 1
            if 0 <= row < height and 0 <= column < width:
                matrix[y, x, :, row, column] = weight[:, :, down, across]
    return (matrix.view(height * width * out, -1),)


def convolve(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    """Maps (N, C, H, W) to (N, K, H, W), channels last."""
    n, _, height, width = x.shape
    result = F.linear(_flat(x), matrix).view(n, height, width, -1).permute(0, 3, 1, 2)
    return result if bias is None else result + bias[:, None, None]


def _flat(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(1)
