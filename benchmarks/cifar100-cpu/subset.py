"""Write the first 20 classes of CIFAR-100 to ``data/NAME-20.npz`` and print that path.

``python benchmarks/cifar100-cpu/subset.py [DATASET]``: DATASET is ``cifar100``, or ``imagefolder:PATH`` with the same
images in folders named as its classes, files named by their official index. Either way the order is the official one.
"""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from harness.api.data import Split
from harness.datasets import load

CLASSES = 20


def kept(split: Split) -> Split:
    """The examples of the first classes, in their order."""
    few = split.labels < CLASSES
    return Split(split.images[few], split.labels[few])


def main(dataset: Annotated[str, typer.Argument()] = "cifar100") -> None:
    """Write the subset, unless it is there."""
    root = Path(os.environ.get("HARNESS_DATA", "data"))
    file = root / f"{dataset.partition(':')[2].rstrip('/').rpartition('/')[2] or dataset}-{CLASSES}.npz"
    if not file.exists():
        data = load(dataset, root)
        train, test = kept(data.train), kept(data.test)
        part = file.with_suffix(".part.npz")
        np.savez(
            part,
            x_train=train.images,
            y_train=train.labels,
            x_test=test.images,
            y_test=test.labels,
            classes=np.array(data.classes[:CLASSES]),
        )
        part.replace(file)
    print(file)


if __name__ == "__main__":
    typer.run(main)
