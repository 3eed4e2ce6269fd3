"""Which stand-ins can matter for a model: a few forward passes decide."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.compute.gradients import Look
from harness.compute.memory import attempt
from harness.compute.modes import evaluating, frozen
from harness.views.attackable import attackable
from harness.views.standins import (
    Expectation,
    Inner,
    InnerMean,
    Location,
    Rescaled,
    Smoothed,
    Substituted,
    ZerothOrder,
    heard,
)
from harness.views.survey import (
    agreement,
    foretold,
    is_logits,
    kept_buffers,
    kept_randomness,
    look,
    measured,
    multiple,
    noise_within,
    same_output,
)

# Substitutes matter if their gradient is further than this from the model's own (cosine), or lives where it is dead.
ALIKE = 0.9
# An honest gradient still points the same way after noise of half the radius. Mean cosines that were measured: networks
# on digits, trained with and without attacks, 0.9 and more; an undefended ResNet-18 on photographs 0.88 at 2/255, 0.5
# at 8/255, 0.35 at 16/255; networks with a fast sine on their logits or activations -0.2 to 0.29.
COHERENT = 0.3
# A gap between the two largest logits beyond which the cross-entropy's gradient has vanished in float32.
SATURATED = 50.0
# A gap below which an L2 gradient is lost in rounding, and an honest network's gap, to which others are brought.
VANISHING = 1e-6
ORDINARY = 4.0
# The share of images, or of the coordinates of a gradient, without one at which a model counts as masking it.
DEAD = 1 / 8
MOST_INNER = 8
# Below this correlation of what it foretells with what comes a gradient misleads: honest networks show 0.95 and more.
FORETOLD = 0.5
# From this cosine on two gradients are the same.
ONE = 0.999


def derived_views(model: nn.Module, x: Tensor, threat: Threat, *, generator: torch.Generator) -> dict[str, nn.Module]:
    """Differentiable stand-ins for ``model`` that an adaptive attack may follow, by telling names; {} if none helps.

    ``x`` (N, C, H, W) are a few images in [0, 1] on the model's device; one draw from ``generator`` fixes the noise.
    Each stand-in maps images to logits (N, K), shares the parameters and holds the model as a submodule. An ordinary
    network gets none. A stand-in that fails, or has no finite gradient, is left out; nothing is raised but a lack of
    memory, which says nothing about the model. Modes, hooks, ``requires_grad``, buffers and global random states are
    given back as they were.
    """
    if not len(x):
        return {}
    with ExitStack() as stack:
        for context in (evaluating(model), frozen(model), kept_buffers(model)):
            stack.enter_context(context)
        restart = stack.enter_context(kept_randomness(generator))
        tried = attempt(lambda: attackable(model, x))  # without a gradient, if asking for one ends with an error
        own = look(model if tried is None else tried, x)
        if own is None:
            return {}
        return _Choice(model, x.detach(), threat, own, restart).views()


def without_repeats(views: Mapping[str, nn.Module], known: Mapping[str, nn.Module], x: Tensor) -> dict[str, nn.Module]:
    """The ``views`` of which none of the ``known`` ones says the same, with the same gradient, on images ``x``."""
    with ExitStack() as stack:
        for view in (*views.values(), *known.values()):
            stack.enter_context(evaluating(view))
            stack.enter_context(frozen(view))
        seen = [each for view in known.values() if (each := look(view, x)) is not None]
        looks = {name: look(view, x) for name, view in views.items()}
    return {name: views[name] for name, own in looks.items() if not any(_repeats(own, each) for each in seen)}


def _repeats(one: Look | None, other: Look) -> bool:
    return one is not None and same_output(one.logits, other.logits) and agreement(one, other) > ONE


class _Choice:
    """The decisions about one model; ``restart`` repeats the random draws with which ``own`` was seen."""

    def __init__(self, model: nn.Module, x: Tensor, threat: Threat, own: Look, restart: Callable[[], None]) -> None:
        self.model, self.x, self.threat, self.own, self.restart = model, x, threat, own, restart
        self.pair = own.logits.topk(2, 1).indices
        self.half = noise_within(threat, 0.5)

    def views(self) -> dict[str, nn.Module]:
        found: dict[str, nn.Module] = {}
        with torch.no_grad():
            random = not same_output(self.own.logits, self.model(self.x).float())
        view, seen, inner = self._substitutes()
        matters = seen is not None and (_matters(self.own, seen) or self._matters_nearby(view))
        base, best = (view, seen) if matters and seen is not None else (self.model, self.own)
        if matters:
            found["substitutes"] = base
        found |= inner
        rescaled = self._rescaled(base)
        if rescaled is not None:
            found["rescaled"] = rescaled
        if random:
            found["expectation"] = Expectation(base)
        if _lives(best) and self._shattered(base, best):
            found["smoothed"] = Smoothed(base, self.half)
        guessed = isinstance(base, Substituted) and base.bridge
        if guessed or not (inner or _lives(best)) or (not random and self._misled(base, *inner.values())):
            found |= self._last_resorts(base)
        return found

    def _misled(self, *views: nn.Module) -> bool:
        """Whether every view's gradient foretells what does not come."""
        return not any(self._foretells(view) for view in views)

    def _foretells(self, view: nn.Module) -> bool:
        found = attempt(lambda: foretold(view, self.x, self.pair, self.threat))
        return found is not None and found >= FORETOLD

    def _last_resorts(self, base: nn.Module) -> dict[str, nn.Module]:
        """What needs no gradient of the model's, and the bridge over opaque parts if its gradient keeps its promise."""
        found: dict[str, nn.Module] = {}
        if not (isinstance(base, Substituted) and base.bridge):
            bridged = Substituted(self.model, bridge=True)
            seen, _ = self._listen(bridged)
            if seen is not None and _lives(seen) and not self._misled(bridged):
                found["bridged"] = bridged
        return found | {"zeroth-order": ZerothOrder(self.model, noise_within(self.threat, 1.0))}

    def _substitutes(self) -> tuple[Substituted, Look | None, dict[str, nn.Module]]:
        """The substituted model, with a bridge over opaque parts if nothing else lives; its look; its inner views."""
        view = Substituted(self.model)
        seen, inner = self._listen(view)
        if not inner and not (_lives(self.own) or (seen and _lives(seen))):
            bridged = Substituted(self.model, bridge=True)
            again, beyond = self._listen(bridged)
            if again is not None and _lives(again):
                return bridged, again, beyond
        return view, seen, inner

    def _listen(self, view: Substituted) -> tuple[Look | None, dict[str, nn.Module]]:
        """What the view shows, and what its submodules say; nothing, if it fails or is not the model's output."""
        return attempt(lambda: self._heard(view)) or (None, {})

    def _heard(self, view: Substituted) -> tuple[Look | None, dict[str, nn.Module]]:
        images = self.x.clone().requires_grad_()
        self.restart()
        with torch.enable_grad():
            output, found = heard(view, images)
            if not same_output(output.detach().float(), self.own.logits):
                return None, {}
            inner = self._inner(view, images, output, found)
            return measured(output, images, self.pair), inner

    def _inner(
        self, view: Substituted, images: Tensor, output: Tensor, found: dict[Location, Tensor]
    ) -> dict[str, nn.Module]:
        """Of what submodules said: what predicts like the model, depends on the images, and is not its output again."""
        classes, kept = output.shape[1], dict[Location, Tensor]()
        for location, said in reversed(found.items()):
            if len(kept) == MOST_INNER:
                break
            if said.shape != output.shape or not is_logits(said, len(images)) or not said.requires_grad:
                continue
            alike = (said.argmax(1) == output.argmax(1)).float().mean()
            if alike <= (1 + 1 / classes) / 2 or any(multiple(said, other) for other in (output, *kept.values())):
                continue
            seen = measured(said, images, self.pair, keep=True)
            if seen is not None and _lives(seen):
                kept[location] = said
        views: dict[str, nn.Module] = {f"inner:{location}": Inner(view, location) for location in kept}
        if len(kept) > 1:
            views["inner:mean"] = InnerMean(view, list(kept))
        return views

    def _matters_nearby(self, view: nn.Module) -> bool:
        """The same where images were moved at random: a defence may leave them alone as they are."""
        moved, looks = noise_within(self.threat, 1.0)(self.x), []
        for each in (self.model, view):
            self.restart()
            looks.append(look(each, moved, self.pair))
        own, seen = looks
        return own is not None and seen is not None and same_output(own.logits, seen.logits) and _matters(own, seen)

    def _rescaled(self, base: nn.Module) -> Rescaled | None:
        logits = self.own.logits
        if _labels(logits):
            return None
        if bool((logits >= 0).all()) and torch.allclose(logits.sum(1), torch.ones_like(logits[:, 0]), atol=1e-4):
            return Rescaled(base, None)
        top = logits.topk(2, 1).values
        gap = float((top[:, 0] - top[:, 1]).median())
        return Rescaled(base, gap / ORDINARY) if gap > SATURATED or 0 < gap < VANISHING else None

    def _shattered(self, base: nn.Module, best: Look) -> bool:
        """Whether the model answers with labels, or a gradient turns away within half the radius."""
        pairs = [(base, best)] if base is self.model else [(base, best), (self.model, self.own)]
        return _labels(self.own.logits) or any(self._turns(view, before) for view, before in pairs)

    def _turns(self, view: nn.Module, before: Look) -> bool:
        moved = self.half(self.x)
        self.restart()
        after = look(view, moved, self.pair)
        return after is not None and agreement(before, after) < COHERENT


def _matters(own: Look, seen: Look) -> bool:
    if not seen.alive.any():
        return False
    revived = (seen.alive & ~own.alive).float().mean()
    return bool(revived >= DEAD) or _opened(own, seen) >= DEAD or agreement(own, seen) < ALIKE


def _opened(own: Look, seen: Look) -> float:
    """Of the coordinates at which one gradient is not zero, the share at which the other is."""
    lives = seen.gradient[seen.alive] != 0
    return float((own.gradient[seen.alive][lives] == 0).float().mean())


def _lives(seen: Look) -> bool:
    return bool(seen.alive.float().mean() >= 0.5)


def _labels(logits: Tensor) -> bool:
    """Whether the output knows only two values, as one-hot labels do."""
    return bool(((logits == logits.max()) | (logits == logits.min())).all())
