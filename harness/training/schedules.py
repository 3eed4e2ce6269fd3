"""Learning-rate schedules as pure functions of the progress of training."""

import math

from harness.api.specs import Protocol

WARM_UP = 0.4  # share of a cyclic schedule in which the rate rises


def learning_rate(protocol: Protocol, progress: float) -> float:
    """The rate at ``progress`` in [0, 1): the share of optimisation steps already taken."""
    if protocol.schedule == "piecewise":
        passed = sum(progress >= milestone for milestone in protocol.milestones)
        return float(protocol.lr * 0.1**passed)
    if protocol.schedule == "cosine":
        return protocol.lr * (1 + math.cos(math.pi * progress)) / 2
    if protocol.schedule == "cyclic":
        rising, falling = progress / WARM_UP, (1 - progress) / (1 - WARM_UP)
        return protocol.lr * min(rising, falling)
    return protocol.lr
