"""The leaderboards of RobustBench for the data sets that the harness has."""

from results.labels import threat_label

# Data set, norm and radius; there is one for ImageNet besides.
_BOARDS = (("cifar10", "Linf", 8 / 255), ("cifar10", "L2", 0.5), ("cifar100", "Linf", 8 / 255))
DATASETS = tuple(dict.fromkeys(dataset for dataset, _, _ in _BOARDS))


def threats(dataset: str) -> list[str]:
    """The threats that the data set has boards for, as ``Linf 8/255``."""
    return [threat_label(norm, eps) for name, norm, eps in _BOARDS if name == dataset]


def has_board(dataset: str, threat: str) -> bool:
    """Whether there is one."""
    return threat in threats(dataset)
