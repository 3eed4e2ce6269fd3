"""The attack of someone who knows the defence: Auto-PGD on every stand-in, judged by the real model."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from harness.attacks.apgd import Objective, apgd
from harness.attacks.base import Proposal, Views, attack
from harness.attacks.fields import require_positive
from harness.attacks.losses import cross_entropy, dlr, margin, targeted_dlr
from harness.modes import evaluating, frozen
from harness.threat import Threat

# Views of this name are other models, of related methods: what fools them is tried on the model under attack.
TRANSFER = "transfer:"

_REPEATS = 5
PROBE = 16  # images that show whether the forward pass is random


class _Run(NamedTuple):
    """One run of Auto-PGD: which loss of which stand-in; ``rank`` counts the targets, 0 for untargeted losses."""

    loss: str
    view: str
    rank: int = 0

    @property
    def part(self) -> str:
        return f"{self.loss} on {self.view}"


@attack("adaptive")
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Auto-PGD on the model and on each of its views in turn, each run on what still stands.

    The gradient is a stand-in's; the real model judges every iterate. For each stand-in first the cross-entropy, then
    the untargeted difference of logits (DLR; the margin where there are but two classes), then the targeted DLR
    towards the best other class, and towards the next up to ``targets`` with the model and the stand-ins that have
    broken something. A stand-in with an attribute ``aimed`` is called with the images and the target classes, and
    serves the targeted losses alone. Models of related methods come last, with the untargeted losses. A model whose
    forward pass is random counts as fooled when it is wrong five times in a row. After Tramer et al. 2020,
    https://arxiv.org/abs/2002.08347, and Croce & Hein 2020, https://arxiv.org/abs/2003.01690.
    """

    summary: ClassVar[str] = "Auto-PGD on the model and on every differentiable view of it"
    uses_views: ClassVar[bool] = True

    steps: int = 100
    targets: int = 3

    def __post_init__(self) -> None:
        require_positive("adaptive", steps=self.steps, targets=self.targets)

    def __call__(
        self, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, *, generator: torch.Generator, views: Views
    ) -> Proposal:
        """See :class:`harness.attacks.base.Attack`; a part is a loss on a view."""
        stand_ins = {"model": model, **views}
        x_adv, left = x.clone(), torch.arange(len(x), device=x.device)
        part, parts, useful = torch.full_like(y, -1), list[str](), {"model"}
        with evaluating(*stand_ins.values()), frozen(*stand_ins.values()):
            judge = _Judge(model, x)
            for run in self._runs(stand_ins):
                if not len(left):
                    break
                if run.rank > 1 and run.view not in useful:
                    continue
                images, labels, stand_in = x[left], y[left], stand_ins[run.view]
                target = _target(run, model, stand_in, images, labels)
                if target is None:
                    continue
                start = threat.random_start(images, generator)
                objective = _objective(run, judge, stand_in, labels, target)
                x_adv[left], fooled = apgd(objective, images, threat, start=start, steps=self.steps)
                if run.part not in parts:
                    parts.append(run.part)
                part[left[fooled]] = parts.index(run.part)
                useful |= {run.view} if fooled.any() else set()
                left = left[~fooled]
        return Proposal(x_adv, part, tuple(parts))

    def _runs(self, stand_ins: Views) -> Iterator[_Run]:
        """In the order in which they cost: what fools many first, other models after all of the model's own."""
        own = [name for name in stand_ins if not name.startswith(TRANSFER)]
        untargeted = [name for name in own if not _is_aimed(stand_ins[name])]
        yield from (_Run("cross-entropy", name) for name in untargeted)
        yield from (_Run("dlr", name) for name in untargeted)
        yield from (_Run("targeted dlr", name, rank) for rank in range(1, self.targets + 1) for name in own)
        yield from (_Run(loss, name) for loss in ("cross-entropy", "dlr") for name in stand_ins if name not in own)


def _target(run: _Run, model: nn.Module, stand_in: nn.Module, x: Tensor, y: Tensor) -> Tensor | None:
    """The class (N,) that a targeted run aims at, the labels for others; None where there are too few classes."""
    if not run.rank:
        return y
    with torch.no_grad():
        logits = (model if _is_aimed(stand_in) else stand_in)(x)
    if not 4 <= logits.shape[1] > run.rank:
        return None
    others = logits.scatter(1, y[:, None], float("-inf"))
    ranked: Tensor = others.argsort(1, descending=True)
    return ranked[:, run.rank - 1]


def _objective(run: _Run, judge: "_Judge", stand_in: nn.Module, y: Tensor, target: Tensor) -> Objective:
    def objective(x_adv: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        logits = stand_in(x_adv, target[rows]) if _is_aimed(stand_in) else stand_in(x_adv)
        if run.loss == "cross-entropy":
            loss = cross_entropy(logits, y[rows])
        elif run.rank:
            loss = targeted_dlr(logits, y[rows], target[rows])
        else:
            loss = (dlr if logits.shape[1] > 2 else margin)(logits, y[rows])
        return loss, judge.fooled(x_adv, y[rows], logits if stand_in is judge.model else None)

    return objective


def _is_aimed(stand_in: nn.Module) -> bool:
    return bool(getattr(stand_in, "aimed", False))


class _Judge:
    """The real model. One with a random forward pass is asked several times: fooled by luck does not count."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model = model
        with torch.no_grad():
            first, second = model(x[:PROBE]), model(x[:PROBE])
        self.repeats = 1 if torch.allclose(first, second, 1e-3, 1e-4) else _REPEATS

    def fooled(self, x_adv: Tensor, y: Tensor, logits: Tensor | None) -> Tensor:
        """Whether images (M, C, H, W) with labels (M,) are misclassified, bool (M,); ``logits`` if known already."""
        with torch.no_grad():
            answers = [self.model(x_adv) for _ in range(self.repeats - (logits is not None))]
            answers += [] if logits is None else [logits]
            return torch.stack([answer.argmax(1) != y for answer in answers]).all(0)
