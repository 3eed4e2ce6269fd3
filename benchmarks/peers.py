"""What the harness is timed against: published algorithms as their authors' loops run, in float32 and eager."""

import random
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.api.model import heads_of, over_heads
from harness.api.threat import Threat
from methods.ancra import asymmetric_similarity

STEPS = 10
BETA, ZETA, AUXILIARY = 6.0, 3.0, 2.0


def pgd_at(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, threat: Threat) -> None:
    """Madry et al. 2018, https://arxiv.org/abs/1706.06083: the inner attack in evaluation mode, as TRADES does it."""
    model.eval()
    x_adv = _noisy(x)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        loss = F.cross_entropy(model(x_adv), y)
        x_adv = _step(x_adv, torch.autograd.grad(loss, x_adv)[0], x, threat)
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(x_adv), y).backward()
    optimizer.step()


def trades(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, threat: Threat) -> None:
    """Zhang et al. 2019, https://arxiv.org/abs/1901.08573: the clean prediction is made anew in every inner step."""
    model.eval()
    x_adv = _noisy(x)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        with torch.enable_grad():
            loss = F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1), reduction="sum")
        x_adv = _step(x_adv, torch.autograd.grad(loss, x_adv)[0], x, threat)
    model.train()
    optimizer.zero_grad()
    natural = model(x)
    robust = F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(natural, 1), reduction="batchmean")
    (F.cross_entropy(natural, y) + BETA * robust).backward()
    optimizer.step()


def trades_ancra(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, threat: Threat) -> None:
    """Zhou et al. 2023, https://arxiv.org/abs/2310.03358: negatives are found one by one, and attacked apart."""
    labels = y.tolist()
    chosen = []
    for label in labels:
        other = random.choice([each for each in set(labels) if each != label])
        chosen.append(random.choice([index for index, each in enumerate(labels) if each == other]))
    negatives = x[torch.tensor(chosen, device=x.device)]
    model.eval()
    x_adv = _over_heads_attack(model, x, lambda logits: F.cross_entropy(logits, y), threat)
    n_adv = _over_heads_attack(model, negatives, lambda logits: -F.cross_entropy(logits, y), threat)
    model.train()
    optimizer.zero_grad()
    natural, robust = heads_of(model, x, y), heads_of(model, x_adv, y)
    other = heads_of(model, n_adv, y[torch.tensor(chosen, device=y.device)])
    over = partial(over_heads, weight=AUXILIARY)
    loss = over(lambda logits: F.cross_entropy(logits, y), natural)
    loss = loss + BETA * over(
        lambda p, q: F.kl_div(F.log_softmax(q, 1), F.softmax(p, 1), reduction="batchmean"), natural, robust
    )
    loss = loss + ZETA * over(lambda q, r: asymmetric_similarity(q, r, 1.0).mean(), natural, other)
    loss.backward()
    optimizer.step()


def _over_heads_attack(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor], threat: Threat) -> Tensor:
    x_adv = _noisy(x)
    for _ in range(STEPS):
        x_adv.requires_grad_()
        total = over_heads(loss, heads_of(model, x_adv), weight=AUXILIARY)
        x_adv = _step(x_adv, torch.autograd.grad(total, x_adv)[0], x, threat)
    return x_adv


def _noisy(x: Tensor) -> Tensor:
    return (x + 0.001 * torch.randn_like(x)).detach()


def _step(x_adv: Tensor, gradient: Tensor, x: Tensor, threat: Threat) -> Tensor:
    x_adv = x_adv.detach() + threat.step_size * gradient.sign()
    x_adv = torch.min(torch.max(x_adv, x - threat.eps), x + threat.eps)
    return x_adv.clamp(0.0, 1.0).detach()
