"""What is written of a model for RobustBench is that model, for RobustBench's own code."""

import numpy as np
import pytest
import torch
from oracles import Threshold, linear_case, run
from torch import nn

from harness.api.errors import HarnessError
from harness.api.model import Inputs, models
from harness.api.threat import Threat
from harness.attacks import resolve
from harness.evaluation.judge import Examples
from harness.library import robustbench_compat
from harness.library.submission.architecture import architecture_of, check_logits, zoo_weights
from harness.library.submission.images import worst_case_images
from harness.models.resnet import BasicBlock, ResNet, Stages
from harness.models.wide_resnet import WideResNet
from methods.reverse_attention import ReverseAttentionNetwork
from results.adversarial import Adversarial

INPUTS = Inputs(3, 32, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
THREAT = Threat("Linf", 8 / 255)
NAME = "Zhou2023Enhancing"
LABEL = {
    "small-cnn": "4-layer CNN",
    "resnet18": "ResNet-18",
    "resnet50": "ResNet-50",
    "preactresnet18": "PreActResNet-18",
    "wrn-16-2": "WideResNet-16-2",
}


def network(name: str, reverse_attention: bool, inputs: Inputs = INPUTS) -> nn.Module:
    """With statistics and biases as a training leaves them: not those that would hide a missing layer."""
    torch.manual_seed(0)
    model = WideResNet(16, 2, 100, inputs) if name == "wrn-16-2" else models[name](100, inputs)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                nn.init.uniform_(values, -0.5, 0.5)
    return (ReverseAttentionNetwork(model) if reverse_attention else model).eval()


@pytest.mark.parametrize("reverse_attention", [False, True])
@pytest.mark.parametrize("name", LABEL)
def test_the_class_for_the_zoo_gives_the_logits_of_the_model_bit_for_bit(name, reverse_attention):
    robustbench_compat.load()
    model, x = network(name, reverse_attention), torch.rand(3, 3, 32, 32)
    architecture = architecture_of(model)
    source, weights = architecture.source(NAME), zoo_weights(model)
    assert architecture.label == LABEL[name] + " with reverse attention" * reverse_attention
    assert architecture.known == (name != "small-cnn" and not reverse_attention)
    assert "harness" not in source
    assert not any(part in key for key in weights for part in ("module.", "model."))
    check_logits(model, source, NAME, weights, x)
    other = "mu" if name == "small-cnn" else next(key for key in weights if key.endswith("running_mean"))
    with pytest.raises(HarnessError, match="logits that differ by up to"):
        check_logits(model, source, NAME, {**weights, other: weights[other] + 1}, x)


def test_a_model_that_has_no_class_there_is_refused():
    with pytest.raises(HarnessError, match="no class for RobustBench's zoo that computes what Threshold does"):
        architecture_of(Threshold())
    with pytest.raises(HarnessError, match="takes images of 3 channels, this one 1"):
        architecture_of(network("resnet18", False, Inputs(1, 8)))


def test_a_width_that_robustbench_does_not_have_is_refused():
    robustbench_compat.load()
    model = ResNet(Stages(BasicBlock, (1, 1, 1, 1), 8), 10, INPUTS)
    architecture = architecture_of(model)
    with pytest.raises(HarnessError, match=r"does not take the model's weights: size mismatch for linear.weight"):
        check_logits(model, architecture.source(NAME), NAME, zoo_weights(model), torch.rand(1, 3, 32, 32))


def test_each_example_has_an_image_that_breaks_it_or_its_clean_one():
    """A linear model, half of whose images FGSM breaks; what lies outside the ball or fools nobody is passed over."""
    case = linear_case(THREAT, 10, shape=(3, 4, 4), count=8)
    fooling, everywhere = run(resolve("fgsm"), case.model, case.x, case.y, THREAT), np.arange(len(case.y))
    outside = 3 * (fooling - case.x) + case.x
    found = [Adversarial(everywhere, images.numpy()) for images in (outside, case.x, fooling)]
    y = torch.where(torch.arange(8) == 0, 9, case.y)  # wrong without an attack
    images, standing = worst_case_images(case.model, Examples(case.x, y), THREAT, found)
    assert standing.tolist() == [bool(robust) and place > 0 for place, robust in enumerate(case.robust)]
    assert torch.equal(images, torch.where(case.robust.view(-1, 1, 1, 1), case.x, fooling))
