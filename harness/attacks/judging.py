"""Who says during a search whether an image fools the model: the model itself, and never a stand-in."""

import torch
from torch import Tensor, nn

from harness.modes import exact_float32, is_rough


class Judge:
    """The real ``model``. One with a random forward pass is asked several times: fooled by luck does not count.

    Where a search computes in low precision, every success is confirmed in float32 before it counts.
    """

    def __init__(self, model: nn.Module, repeats: int = 1) -> None:
        self.model, self.repeats = model, repeats

    def fooled(self, x_adv: Tensor, y: Tensor, logits: Tensor | None = None) -> Tensor:
        """Whether images (M, C, H, W) with labels (M,) are misclassified, bool (M,); ``logits`` if known already."""
        with torch.no_grad():
            answers = [self.model(x_adv) for _ in range(self.repeats - (logits is not None))]
            answers += [] if logits is None else [logits]
            wrong = torch.stack([answer.argmax(1) != y for answer in answers]).all(0)
            if is_rough(x_adv.device) and bool(wrong.any()):
                with exact_float32(x_adv.device):
                    wrong[wrong.clone()] = self.model(x_adv[wrong]).argmax(1) != y[wrong]
            return wrong
