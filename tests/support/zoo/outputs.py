"""Defences that do something to the logits; each but the last two leaves the order of the classes as it was."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.gradients import fixed_normal, straight_through
from zoo.inputs import Wrapper


class Saturated(Wrapper):
    """Logits so large that the softmax is exactly one-hot in float32: the cross-entropy's gradient is zero."""

    def __init__(self, base: nn.Module, factor: float = 1000.0) -> None:
        super().__init__(base)
        self.factor = factor

    def outputs(self, logits: Tensor) -> Tensor:
        return self.factor * logits


class Softmax(Wrapper):
    """Probabilities in place of logits, from a saturated softmax."""

    def __init__(self, base: nn.Module, factor: float = 100.0) -> None:
        super().__init__(base)
        self.factor = factor

    def outputs(self, logits: Tensor) -> Tensor:
        return (self.factor * logits).softmax(1)


class HardLabel(Wrapper):
    """The predicted class and nothing else, one-hot."""

    def outputs(self, logits: Tensor) -> Tensor:
        return F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)


class Boosted(Wrapper):
    """The winner's logit is raised by a constant: every loss believes in a margin that the next image may not have."""

    def __init__(self, base: nn.Module, bonus: float = 100.0) -> None:
        super().__init__(base)
        self.bonus = bonus

    def outputs(self, logits: Tensor) -> Tensor:
        return logits + self.bonus * F.one_hot(logits.argmax(1), logits.shape[1])


class Decoy(Wrapper):
    """The classifier's logits with the gradient of a random linear map."""

    def outputs(self, logits: Tensor) -> Tensor:
        return logits.detach()

    def forward(self, x: Tensor) -> Tensor:
        logits, pixels = super().forward(x), x.flatten(1)
        decoy = pixels @ fixed_normal(pixels.shape[1], logits.shape[1]).to(x.device)
        return straight_through(logits, decoy)


class Sine(Wrapper):
    """A ripple on the logits: a slope of up to ``height * frequency`` of either sign."""

    height, frequency = 0.05, 2000.0

    def outputs(self, logits: Tensor) -> Tensor:
        return logits + self.height * torch.sin(self.frequency * logits)


class Rounded(Wrapper):
    """Logits rounded to tenths: the loss is a staircase with level steps."""

    def outputs(self, logits: Tensor) -> Tensor:
        return (10 * logits).round() / 10


class Vote(nn.Module):
    """Each of several classifiers has one vote; a draw goes to the class that the first of them prefers."""

    def __init__(self, voters: Sequence[nn.Module]) -> None:
        super().__init__()
        self.voters = nn.ModuleList(voters)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [voter(x) for voter in self.voters]
        votes = [F.one_hot(logits.argmax(1), logits.shape[1]).float() for logits in outputs]
        return torch.stack(votes).sum(0) + 0.1 * votes[0]


class Mean(nn.Module):
    """The mean logits of several classifiers."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([part(x) for part in self.parts]).mean(0)
