"""Who says during a search whether an image fools the model: the model itself, and never a stand-in."""

import torch
from torch import Tensor, nn

from harness.compute.modes import exact_float32, is_rough

PROBE = 16  # images that show whether the forward pass is random
_REPEATS = 5


class Judge:
    """The real ``model``; modes and frozen parameters are the caller's business.

    One whose forward pass is random on images ``x`` (N, C, H, W) is asked several times: fooled by luck does not count.
    One that answers otherwise where a gradient is wanted is asked without: the other answer is a decoy. A success that
    was seen in low precision, or where a gradient was wanted, is confirmed in float32 without before it counts.
    ``classes`` is the number of logits.
    """

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model = model
        few = x[:PROBE].detach()
        with exact_float32(x.device):
            with torch.enable_grad():
                differentiated: Tensor = model(few.clone().requires_grad_()).detach()
            with torch.no_grad():
                plain: Tensor = model(few)
                alike = _same(plain, differentiated)
                random = not alike and any(not _same(plain, model(few)) for _ in range(_REPEATS - 1))
        self.classes = plain.shape[1]
        self.repeats = _REPEATS if random else 1
        self.evasive = not alike and not random

    def fooled(self, x_adv: Tensor, y: Tensor, logits: Tensor | None = None) -> Tensor:
        """Whether images (M, C, H, W) with labels (M,) are misclassified, bool (M,); ``logits`` if known already.

        Those that come with a gradient are no more than a claim, which another question confirms.
        """
        with torch.no_grad():
            wrong = (self.model(x_adv.detach()) if logits is None or self.evasive else logits).argmax(1) != y
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
    return one.shape == other.shape and torch.allclose(one.float(), other.float(), 1e-3, 1e-4, equal_nan=True)
