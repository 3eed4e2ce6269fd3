"""The criterion of success during a search: the model itself is fooled, and never a stand-in."""

import torch
from torch import Tensor, nn

from harness.compute.modes import exact_float32, is_rough

PROBE = 16  # images that show whether the forward pass is random
_REPEATS = 5


class Criterion:
    """The real ``model``; modes and frozen parameters are the caller's business.

    One whose forward pass is random on images ``x`` (N, C, H, W) is asked several times: fooled by luck does not count.
    A success that was seen in low precision, or where a gradient was wanted, is confirmed in float32 without one before
    it counts. ``classes`` is the number of logits.
    """

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model = model
        few = x[:PROBE].detach()
        with torch.no_grad(), exact_float32(x.device):
            first, second = model(few), model(few)
        self.classes = first.shape[1]
        self.repeats = 1 if _same(first, second) else _REPEATS

    def fooled(self, x_adv: Tensor, y: Tensor, logits: Tensor | None = None) -> Tensor:
        """Whether images (M, C, H, W) with labels (M,) are misclassified, bool (M,); ``logits`` if known already.

        Those that come with a gradient are no more than a claim, which another question confirms.
        """
        with torch.no_grad():
            wrong = (self.model(x_adv.detach()) if logits is None else logits).argmax(1) != y
            for _ in range(self.repeats - 1):
                self._ask_again(x_adv, y, wrong)
            claimed = self.repeats == 1 and logits is not None and logits.requires_grad
            if claimed or is_rough(x_adv.device):
                with exact_float32(x_adv.device):
                    self._ask_again(x_adv, y, wrong)
        return wrong

    def _ask_again(self, x_adv: Tensor, y: Tensor, wrong: Tensor) -> None:
        if bool(wrong.any()):
            wrong[wrong.clone()] = self.model(x_adv[wrong].detach()).argmax(1) != y[wrong]


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, 1e-3, 1e-4, equal_nan=True)
