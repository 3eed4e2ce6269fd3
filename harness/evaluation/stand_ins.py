"""Which stand-ins an attack finds in ``views``."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn

from harness.api.attack import Attack
from harness.api.threat import Threat
from harness.attacks.adaptive import TRANSFER
from harness.attacks.search.criterion import PROBE
from harness.compute.images import device_of, to_images
from harness.compute.memory import fitting
from harness.compute.randomness import generator
from harness.views.choice import derived_views, without_repeats


def stand_ins_for(
    attack: Attack,
    model: nn.Module,
    images: Tensor,
    threat: Threat,
    declared: Mapping[str, nn.Module],
    siblings: Mapping[str, nn.Module] = MappingProxyType({}),
) -> dict[str, nn.Module]:
    """The stand-ins for ``model``, on its device, for an attack that uses any.

    Those that the method or the model names for itself (``declared``), those derived from how it computes
    (:mod:`harness.views`), and ``siblings``, by the names of their methods. Where memory runs out, fewer images are
    looked at.
    """
    if not getattr(attack, "uses_views", False):
        return {}
    device = device_of(model)

    def derive(size: int) -> dict[str, nn.Module]:
        probe = to_images(images[:size], device)
        derived = derived_views(model, probe, threat, generator=generator("derived views", device=device))
        return without_repeats(derived, declared, probe)

    derived, _ = fitting(derive, PROBE)
    others = {f"{TRANSFER}{name}": sibling.to(device) for name, sibling in siblings.items()}
    return {**declared, **derived, **others}
