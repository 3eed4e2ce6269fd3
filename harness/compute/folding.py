"""BatchNorm folded into the convolution before it, for searches: one pass over the activations less each way."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, fx, nn

from harness.api.model import Classifier
from harness.compute.memory import attempt
from harness.compute.modes import evaluating

# The names of each convolution and of the norm after it: tracing takes as long as several passes of a small network.
_traced: WeakKeyDictionary[Classifier, list[tuple[str, str]]] = WeakKeyDictionary()


@contextmanager
def folded(*models: nn.Module) -> Iterator[None]:
    """Compute every :class:`Classifier` in ``models`` with folded convolutions for a while; its weights are given back.

    Meanwhile they must be used in evaluation mode. Outputs differ by rounding. A BatchNorm is folded only where
    the classifier's graph shows that nothing else sees what the convolution gives; a classifier whose graph cannot be
    traced is left as it is.
    """
    modules = (module for model in models for module in model.modules())
    with ExitStack() as stack:
        for each in dict.fromkeys(module for module in modules if isinstance(module, Classifier)):
            for convolution, norm in _pairs(each):
                stack.enter_context(_fold(convolution, norm))
        yield


def _pairs(classifier: Classifier) -> list[tuple[Any, Any]]:
    """Each ``nn.Conv2d`` with the ``nn.BatchNorm2d`` that alone sees what it gives."""
    if classifier not in _traced:
        _traced[classifier] = _neighbours(classifier)
    modules = [tuple(map(classifier.get_submodule, names)) for names in _traced[classifier]]
    return [
        (first, second)
        for first, second in modules
        if _is_plain(first, nn.Conv2d) and _is_plain(second, nn.BatchNorm2d) and second.track_running_stats
    ]


def _neighbours(classifier: Classifier) -> list[tuple[str, str]]:
    """The names of two modules of which the second alone sees what the first gives; both are called once in a pass."""
    with evaluating(classifier):
        graph = attempt(lambda: fx.Tracer().trace(classifier))
    calls = [node for node in graph.nodes if node.op == "call_module"] if graph else []
    times = Counter(node.target for node in calls)
    found = []
    for node in calls:
        before = node.args[0]
        if before not in calls or len(before.users) > 1 or times[before.target] > 1 or times[node.target] > 1:
            continue
        found.append((str(before.target), str(node.target)))
    return found


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Of just this kind, with weights of its own, and watched by nobody."""
    return type(module) is kind and module._parameters.get("weight") is not None and not module._forward_hooks


@contextmanager
def _fold(convolution: Any, norm: Any) -> Iterator[None]:
    """``norm(convolution(x))`` as one convolution."""
    weight, bias = convolution.weight.data, convolution.bias
    with torch.no_grad():
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - (norm.running_mean if bias is None else norm.running_mean - bias) * scale
    try:
        convolution.weight.data = weight * scale.view(-1, 1, 1, 1)
        convolution.bias = nn.Parameter(shift, requires_grad=False)
        vars(norm)["forward"] = _unchanged
        yield
    finally:
        vars(norm).pop("forward", None)
        convolution.weight.data, convolution.bias = weight, bias


def _unchanged(x: Tensor) -> Tensor:
    return x
