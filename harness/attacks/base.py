"""The path of version 0.1 to :mod:`harness.api.attack` and :mod:`harness.compute`, for plugins written then."""

from harness.api.attack import Attack, Proposal, Views, attack
from harness.compute.ascent import ascend
from harness.compute.gradients import input_gradient

__all__ = ["Attack", "Proposal", "Views", "ascend", "attack", "input_gradient"]
