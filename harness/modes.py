"""Context managers that change a model for a while and give it back exactly as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*models: nn.Module) -> Iterator[None]:
    """Put the models in evaluation mode, then give every submodule back its own mode."""
    before = {module: module.training for model in models for module in model.modules()}
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for module, training in before.items():
            module.training = training


@contextmanager
def frozen(*models: nn.Module) -> Iterator[None]:
    """Stop gradients to the parameters while an attack differentiates the input: about a third of the work.

    Each parameter's ``requires_grad`` is given back afterwards; ``grad`` is never touched.
    """
    before = {parameter: parameter.requires_grad for model in models for parameter in model.parameters()}
    try:
        for parameter in before:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
