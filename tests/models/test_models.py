"""The built-in models: sizes, shapes, normalisation inside, and RobustBench's weights in and out."""

import pytest
import torch
from torch import Tensor, nn

from harness.api.errors import HarnessError
from harness.api.model import Inputs, declared_views, heads_of, models
from harness.models.preact_resnet import preactresnet18
from harness.models.resnet import resnet18, resnet50
from harness.models.small_cnn import small_cnn
from harness.models.wide_resnet import WideResNet
from methods.reverse_attention import ReverseAttentionNetwork

# Parameters with 10 classes and RGB images: the numbers that papers and RobustBench's own classes give.
PARAMETERS = {
    "resnet12-w8": 232 + 1_184 + 3_680 + 14_528 + 57_728 + 73_984 + 650,  # ours: stem, five blocks, classifier
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "preactresnet18": 11_172_170,
    "wrn-28-10": 36_479_194,
    "wrn-34-10": 46_160_474,
    "small-cnn": 66_410,
}
WIDTHS = {"resnet12-w8": 64, "resnet50": 2048, "wrn-28-10": 640, "wrn-34-10": 640, "small-cnn": 64}


def images(n: int = 3, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values for all that training would change, BatchNorm's statistics included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                for values, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.5, 0.5),
                    (module.running_mean, -0.5, 0.5),
                    (module.running_var, 0.5, 1.5),
                ):
                    values.uniform_(low, high, generator=generator)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
            elif isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.1, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return model.eval()


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_every_name_has_the_known_number_of_parameters(name, parameters):
    """Reverse attention adds none, and no name of the state dict changes with it."""
    with torch.device("meta"):
        plain, attended = models[name](10, Inputs()), ReverseAttentionNetwork(models[name](10, Inputs()))
    assert sum(p.numel() for p in plain.parameters()) == parameters
    assert plain.state_dict().keys() == attended.state_dict().keys()


@pytest.mark.parametrize("reverse_attention", [False, True])
@pytest.mark.parametrize(("channels", "size"), [(3, 32), (3, 64), (1, 28), (1, 8)])
@pytest.mark.parametrize("name", PARAMETERS)
def test_every_name_takes_images_of_every_size(name, channels, size, reverse_attention):
    """On the meta device only the shapes are computed, so that the widest networks cost nothing."""
    with torch.device("meta"):
        model = models[name](100, Inputs(channels, size))
        model = ReverseAttentionNetwork(model) if reverse_attention else model
        heads = model.heads(torch.empty(5, channels, size, size))
    assert heads.logits.shape == (5, 100)
    assert [p.shape for p in heads.auxiliary] == [(5, 100)] * (2 * reverse_attention)
    assert heads.features.shape == (5, WIDTHS.get(name, 512))


def test_a_plain_model_has_logits_features_and_nothing_else():
    """The features are the pooled last map (here seen by a hook), and the logits are linear in them."""
    model = randomise(small_cnn(4, Inputs(1, 8)))
    maps = []
    model.conv4.register_forward_hook(lambda module, args, output: maps.append(output))
    x = images(3, 1, 8)
    heads = heads_of(model, x, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(heads.features, maps[0].flatten(2).mean(2))
    torch.testing.assert_close(heads.logits, heads.features @ model.linear.weight.T + model.linear.bias)
    assert heads.auxiliary == ()
    assert torch.equal(model(x), heads.logits)
    assert declared_views(model) == {}


@pytest.mark.parametrize("factory", [small_cnn, resnet18])
def test_normalisation_inside_equals_normalised_images_outside(factory):
    """Per-channel mean and std are applied once, to the images, and are no part of the state dict."""
    mean, std = (0.3, 0.5, 0.7), (0.2, 0.3, 0.25)
    inside = randomise(factory(10, Inputs(mean=mean, std=std)))
    outside = factory(10, Inputs()).eval()
    outside.load_state_dict(inside.state_dict(), strict=True)
    x = images()
    normalised = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], dim=1)
    torch.testing.assert_close(inside(x), outside(normalised))
    assert not torch.allclose(inside(x), outside(x), atol=1e-2)
    assert not {"mean", "std"} & inside.state_dict().keys()


def test_one_seed_gives_one_initialisation():
    """Weights come from torch's global generator alone, with or without reverse attention."""
    built = []
    for seed, reverse_attention in ((1, False), (1, True), (2, False)):
        torch.manual_seed(seed)
        model = WideResNet(16, 1, 10, Inputs())
        model = ReverseAttentionNetwork(model) if reverse_attention else model
        built.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])


def test_wide_resnet_starts_as_in_its_paper():
    """Convolutions ~ N(0, 2 / (9 out_channels)) (He, fan-out), biases 0."""
    weight = (model := WideResNet(16, 4, 10, Inputs())).block3.layer[0].conv1.weight
    assert weight.shape[:2] == (256, 128)
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    assert model.fc.bias.abs().max() == 0


@pytest.fixture(scope="module")
def architectures():
    """RobustBench's own classes."""
    from harness.library.robustbench_compat import load

    load()
    from robustbench.model_zoo.architectures import resnet, wide_resnet

    return {
        "resnet18": resnet.ResNet18,
        "resnet50": resnet.ResNet50,
        "preactresnet18": lambda: resnet.PreActResNet(
            resnet.PreActBlock, [2, 2, 2, 2], bn_before_fc=True, out_shortcut=True
        ),
        "wrn-16-2": lambda: wide_resnet.WideResNet(depth=16, widen_factor=2),
    }


OURS = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "preactresnet18": preactresnet18,
    "wrn-16-2": lambda classes, inputs: WideResNet(16, 2, classes, inputs),
}


@pytest.mark.parametrize("name", OURS)
def test_robustbench_weights_load_into_ours_and_back(name, architectures):
    """Both ways with ``strict=True``; random weights give the same function, compared in float64."""
    x = images().double()
    theirs = randomise(architectures[name](), seed=1).double()
    ours = OURS[name](10, Inputs()).double().eval()
    with torch.no_grad():
        ours.load_state_dict(theirs.state_dict(), strict=True)
        assert theirs(x).std(0).max() > 0.1
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-8, rtol=1e-8)
        randomise(ours, seed=2)
        assert not torch.allclose(ours(x), theirs(x), rtol=0.1)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize(
    ("classes", "inputs", "message"),
    [
        (1, Inputs(), "at least 2 classes, got 1"),
        (10, Inputs(mean=(0.5, 0.5)), r"mean must have 1 value or 3, one per channel, got \(0.5, 0.5\)"),
        (10, Inputs(1, 8, std=(0.2, 0.2, 0.2)), "std must have 1 value or 1, one per channel"),
        (10, Inputs(std=(0.2, 0.0, 0.2)), "std must be positive"),
    ],
)
def test_contradictory_inputs_are_refused(classes, inputs, message):
    """The message says what was given and what would be right."""
    with pytest.raises(HarnessError, match=message):
        small_cnn(classes, inputs)


@pytest.mark.parametrize("depth", [29, 4])
def test_a_wide_resnet_has_whole_groups(depth):
    with pytest.raises(HarnessError, match=f"must be one of 10, 16, 22, ..., got {depth}"):
        WideResNet(depth, 1, 10, Inputs())
