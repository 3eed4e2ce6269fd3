"""The adversarial images that verdicts rest on, kept batch by batch: an evaluation goes on where it stopped."""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from harness.api.errors import HarnessError
from harness.compute.files import aside, save_arrays
from results.adversarial import Adversarial, read_adversarial

log = logging.getLogger("harness")


class AdversarialParts:
    """A folder with one file for each batch in which an example was broken."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, positions: Tensor, images: Tensor) -> None:
        """Keep the images (M, C, H, W) that broke the examples at ``positions`` (M,), none of which was broken before.

        The file bears the first position: a batch that is attacked again writes over its own.
        """
        if len(positions):
            found = Adversarial(positions.cpu().numpy(), images.detach().float().cpu().numpy())
            save_arrays(self.folder / f"{int(positions.min())}.npz", **found._asdict())

    def are_whole(self) -> bool:
        """Whether all that was kept can be read; what cannot is kept aside, with a warning."""
        whole = True
        for part in self.folder.glob("*.npz"):
            try:
                read_adversarial(part)
            except HarnessError as error:
                log.warning("%s; kept as %s", error, aside(part).name)
                whole = False
        return whole

    def gather(self, path: Path, verdicts: Tensor, image: torch.Size) -> None:
        """Write all that was kept of examples that ``verdicts`` bool (N,) call broken; one ``image`` is (C, H, W)."""
        parts = [read_adversarial(part) for part in sorted(self.folder.glob("*.npz"))]
        positions = np.concatenate([np.zeros(0, np.int64), *(part.positions for part in parts)])
        images = np.concatenate([np.zeros((0, *image), np.float32), *(part.images for part in parts)])
        positions, first = np.unique(positions, return_index=True)
        broken = ~verdicts.numpy()[positions]
        save_arrays(path, **Adversarial(positions[broken], images[first][broken])._asdict())
