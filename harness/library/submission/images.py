"""One adversarial image for each test example, of whichever attack broke it, checked once more."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from harness.api.threat import Threat
from harness.compute.images import device_of, to_images
from harness.evaluation.judge import Examples
from harness.evaluation.verify import still_correct
from results.adversarial import Adversarial

_BATCH = 500


def worst_case_images(
    model: nn.Module, examples: Examples, threat: Threat, found: Iterable[Adversarial]
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) in float32 on the CPU, and which of them the model gets right: bool (N,).

    An example is its clean image where the model is wrong on that or nothing broke it, else the first image found
    that the model, asked again, gets wrong and that lies in the threat's ball.
    """
    device, everywhere = device_of(model), torch.arange(len(examples.y))
    images = to_images(examples.x, torch.device("cpu"))
    standing = torch.ones(len(images), dtype=torch.bool)
    unchanged = (everywhere, images)
    for positions, proposed in (unchanged, *((torch.from_numpy(each.positions), each.images) for each in found)):
        own = (positions < len(images)) & standing[positions.clamp(max=len(images) - 1)]
        for batch in torch.split(own.nonzero().flatten(), _BATCH):
            at, x_adv = positions[batch], torch.as_tensor(proposed)[batch].to(device)
            right = still_correct(model, *examples.at(at, device), x_adv, threat).cpu()
            images[at[~right]] = x_adv.cpu()[~right]
            standing[at] = right
    return images, standing
