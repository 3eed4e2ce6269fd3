"""A spec's method and model: freshly initialised, or with the weights of a finished training."""

from pathlib import Path

from torch import nn

from harness.api.data import Data
from harness.api.method import Method, methods
from harness.api.model import Inputs
from harness.api.specs import TrainSpec
from harness.compute.checkpoints import load_weights
from harness.compute.randomness import seeded


def build_method(spec: TrainSpec) -> Method:
    """The method with the hyperparameters of the spec."""
    return methods[spec.method.name](**spec.method.params)


def build_model(spec: TrainSpec, data: Data) -> nn.Module:
    """The freshly initialised model: the same weights for the same seed and architecture, whatever the method."""
    inputs = Inputs(data.channels, data.size, data.mean, data.std)
    with seeded(spec.seed, "initial weights"):
        return build_method(spec).build_model(spec.model, data.num_classes, inputs)


def trained_model(spec: TrainSpec, data: Data, weights: Path) -> nn.Module:
    """The model of a finished training job, with the weights of one checkpoint."""
    model = build_model(spec, data)
    load_weights(weights, model)
    return model
