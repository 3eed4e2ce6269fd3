"""MNIST, CIFAR-10, CIFAR-100 and SVHN, through torchvision's classes and checksums."""

import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.api.data import Data, Split, dataset
from harness.datasets.cache import cached
from harness.datasets.download import Archive

_DIGITS = tuple("0123456789")


@dataset("mnist")
def mnist(root: Path) -> Data:
    """Handwritten digits of 28x28 grey pixels: 60,000 to train, 10,000 to test.

    LeCun et al. 1998, http://yann.lecun.com/exdb/mnist. Its four files belong into ``root/MNIST/raw``.
    """
    from torchvision.datasets import MNIST

    server, raw = MNIST.mirrors[0], Path("MNIST", "raw")
    archives = [Archive("mnist", f"{server}{name}", md5, root / raw / name) for name, md5 in MNIST.resources]

    def build() -> Data:
        with _unpacked(archives, raw) as folder:
            train, test = (MNIST(folder, train=part) for part in (True, False))
        return Data(
            "mnist",
            Split(train.data.numpy()[:, None], train.targets.numpy()),
            Split(test.data.numpy()[:, None], test.targets.numpy()),
            _DIGITS,
        )

    return cached(root, _key(archives), build)


@dataset("cifar10")
def cifar10(root: Path) -> Data:
    """Photographs of 32x32 pixels in 10 classes: 50,000 to train, 10,000 to test.

    Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. Its archive belongs into ``root``.
    """
    from torchvision.datasets import CIFAR10

    return _cifar("cifar10", CIFAR10, root)


@dataset("cifar100")
def cifar100(root: Path) -> Data:
    """Photographs of 32x32 pixels in 100 classes: 50,000 to train, 10,000 to test.

    Krizhevsky 2009, https://www.cs.toronto.edu/~kriz/cifar.html. Its archive belongs into ``root``.
    """
    from torchvision.datasets import CIFAR100

    return _cifar("cifar100", CIFAR100, root)


@dataset("svhn")
def svhn(root: Path) -> Data:
    """House numbers of 32x32 pixels in 10 classes: 73,257 to train, 26,032 to test.

    Netzer et al. 2011, http://ufldl.stanford.edu/housenumbers. Its two files belong into ``root``.
    """
    from torchvision.datasets import SVHN

    files = [SVHN.split_list[part] for part in ("train", "test")]
    archives = [Archive("svhn", url, md5, root / name) for url, name, md5 in files]

    def build() -> Data:
        for archive in archives:
            archive.obtain()
        train, test = (SVHN(root, split=part) for part in ("train", "test"))
        return Data("svhn", Split(train.data, train.labels), Split(test.data, test.labels), _DIGITS)

    return cached(root, _key(archives), build)


def _cifar(name: str, source: Any, root: Path) -> Data:
    archive = Archive(name, source.url, source.tgz_md5, root / source.filename)

    def build() -> Data:
        with _unpacked([archive]) as folder, warnings.catch_warnings():
            # The pickles are of 2009: numpy 2.4.0 to 2.4.4 warns of the form of their dtypes.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            parts = [source(folder, train=part) for part in (True, False)]
        train, test = (Split(part.data.transpose(0, 3, 1, 2), np.array(part.targets, np.int64)) for part in parts)
        return Data(name, train, test, tuple(parts[0].classes))

    return cached(root, _key([archive]), build)


@contextmanager
def _unpacked(archives: Sequence[Archive], inside: Path = Path()) -> Iterator[Path]:
    """A temporary folder with the contents of the verified archives in its subfolder ``inside``."""
    from torchvision.datasets.utils import extract_archive

    files = [archive.obtain() for archive in archives]
    with tempfile.TemporaryDirectory(prefix="harness-") as folder:
        target = Path(folder, inside)
        target.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            # torchvision 0.26 extracts without a filter, which Python 3.12 deprecates; the archives are verified.
            warnings.simplefilter("ignore", DeprecationWarning)
            for file in files:
                extract_archive(str(file), str(target))
        yield Path(folder)


def _key(archives: Sequence[Archive]) -> str:
    return "-".join([archives[0].dataset, *(archive.md5[:8] for archive in archives)])
