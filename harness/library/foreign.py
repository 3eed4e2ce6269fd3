"""Whatever a user calls a model, images and labels, as what the harness works with; or one sentence why not."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from harness.api.errors import CodeFailed, HarnessError
from harness.api.model import declared_views
from harness.compute.images import device_of
from harness.compute.memory import ran_out
from harness.evaluation.judge import Examples

# Beyond the ends of [0, 1] by so little lies what rounding left of an image that was normalised and brought back.
ROUNDING = 1e-6

_REMEDY = "wrap it, for example in lambda x: model(x)[0]"


class ForeignModel(nn.Module):
    """Any callable from images (N, C, H, W) to logits (N, K), as a module that answers in float32.

    It is given a copy of the images, of its own precision, so that it may change them in place; an answer with
    ``logits`` (an attribute or a key) counts as those. A function without parameters works where ``device`` says.

    Raises:
        HarnessError: from a forward pass that fails, or whose answer is no tensor.
    """

    def __init__(self, model: Callable[..., Any], device: torch.device) -> None:
        super().__init__()
        if not callable(model):
            raise HarnessError(f"a model must be callable with images, got {type(model).__name__}")
        self.model = _ordinary(model) if isinstance(model, nn.Module) else _Function(model)
        self.aimed = bool(getattr(model, "aimed", False))
        self.training = bool(getattr(model, "training", False))
        tensors = [*self.model.parameters(), *self.model.buffers()]
        precisions = {each.dtype for each in self.model.parameters() if each.is_floating_point()}
        self.precision = precisions.pop() if len(precisions) == 1 else torch.float32
        if not tensors:
            self.register_buffer("place", torch.zeros((), device=device), persistent=False)

    def forward(self, x: Tensor, *targets: Tensor) -> Tensor:
        """Logits (N, K) in float32; ``targets`` (N,) are for stand-ins that are aimed at classes."""
        try:
            answer = self.model(x.clone().to(self.precision), *targets)
        except Exception as error:
            if isinstance(error, HarnessError) or ran_out(error):
                raise
            last = x.shape[3] in (1, 3) and x.shape[1] not in (1, 3)
            hint = ", which look like (N, H, W, C)" if last else ""
            raise CodeFailed(f"the model fails on images (N, C, H, W) = {tuple(x.shape)}{hint}", error) from error
        return _logits(answer).float()

    def attack_views(self) -> dict[str, nn.Module]:
        """The stand-ins that the model names for itself."""
        device = device_of(self)
        return {name: ForeignModel(view, device) for name, view in declared_views(self.model).items()}


def _ordinary(model: nn.Module) -> nn.Module:
    """The model, or a copy of one that was built under ``inference_mode``, whose tensors know no gradient."""
    tensors = [*model.parameters(), *model.buffers()]
    if any(each.is_meta for each in tensors):
        raise HarnessError("the model's weights are on the device 'meta', which holds none: load them first")
    return deepcopy(model) if any(each.is_inference() for each in tensors) else model


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def _logits(answer: Any) -> Tensor:
    named = answer.get("logits") if isinstance(answer, Mapping) else getattr(answer, "logits", None)
    found = answer if named is None else named
    found = torch.as_tensor(found) if isinstance(found, np.ndarray) else found
    if isinstance(found, Tensor):
        return found
    what = f"a {type(found).__name__}" + (f" of {len(found)}" if isinstance(found, list | tuple | Mapping) else "")
    raise HarnessError(f"the model must return a tensor of logits (N, classes), got {what}: {_REMEDY}")


def examples_from(x: Any, y: Any) -> Examples:
    """Images and labels from tensors, arrays or lists, checked; floats out of [0, 1] by rounding alone are put back.

    Raises:
        HarnessError: for other shapes, types or values.
    """
    images, labels = _tensor("images", x), _tensor("labels", y)
    _check_images(images)
    odd = labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
    if labels.shape != images.shape[:1] or odd:
        got = f"got {labels.dtype} {tuple(labels.shape)}"
        raise HarnessError(f"labels must be class numbers, integers of shape ({len(images)},), {got}")
    labels = labels.long()
    if int(labels.min()) < 0:
        raise HarnessError(f"labels must be at least 0, got {int(labels.min())}")
    return Examples(images if images.dtype == torch.uint8 else images.float().clamp(0, 1), labels)


def _tensor(what: str, given: Any) -> Tensor:
    """A dense, contiguous tensor of its own outside ``inference_mode``."""
    try:
        if isinstance(given, Tensor):
            dense = given.detach() if given.layout == torch.strided else given.detach().to_dense()
            return dense.clone() if dense.is_inference() else dense.contiguous()
        array = np.asarray(given)
        return torch.as_tensor(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False)))
    except (TypeError, ValueError, RuntimeError) as error:
        raise HarnessError(f"{what} must be a tensor, or an array or list of numbers: {error}") from error


def _check_images(x: Tensor) -> None:
    if x.dim() != 4 or len(x) == 0:
        raise HarnessError(f"images must have shape (N, C, H, W) with N >= 1, got {tuple(x.shape)}")
    if x.dtype == torch.uint8:
        return
    if not x.is_floating_point():
        raise HarnessError(f"images must be floating point in [0, 1], or uint8, got {x.dtype}")
    if not bool(((x >= -ROUNDING) & (x <= 1 + ROUNDING)).all()):
        raise HarnessError(
            f"images must lie in [0, 1], got values from {float(x.min()):.9g} to {float(x.max()):.9g}: "
            "divide bytes by 255, and move any normalisation into the model"
        )
