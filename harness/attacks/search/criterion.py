"""The criterion of success during a search: the model itself is fooled, and never a stand-in."""

import torch
from torch import Tensor, nn

from harness.attacks.search.found import Claim
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

    def claim(self, x_adv: Tensor, y: Tensor, logits: Tensor | None = None) -> Claim:
        """Which of the images (M, C, H, W) with labels (M,) seem to be misclassified; ``logits`` if known already.

        What comes with a gradient, or in low precision, is doubtful.
        """
        with torch.no_grad():
            wrong = (self.model(x_adv.detach()) if logits is None else logits).argmax(1) != y
            for _ in range(self.repeats - 1):
                self._ask_again(x_adv, y, wrong)
        differentiated = self.repeats == 1 and logits is not None and logits.requires_grad
        return Claim(wrong, differentiated or is_rough(x_adv.device))

    def confirms(self, x_adv: Tensor, y: Tensor) -> Tensor:
        """Whether images (M, C, H, W) with labels (M,) are misclassified in float32, with no gradient: bool (M,)."""
        with torch.no_grad(), exact_float32(x_adv.device):
            wrong: Tensor = self.model(x_adv.detach()).argmax(1) != y
        return wrong

    def _ask_again(self, x_adv: Tensor, y: Tensor, wrong: Tensor) -> None:
        if len(asked := wrong.nonzero().flatten()):
            wrong[asked] = self.model(x_adv[asked].detach()).argmax(1) != y[asked]


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, 1e-3, 1e-4, equal_nan=True)
