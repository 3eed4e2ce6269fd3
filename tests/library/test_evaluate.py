"""``harness.evaluate`` as other people's scripts call it."""

import io

import pytest
import torch
from oracles import LABELS, MARGINS, Threshold, constant_images
from rich.console import Console
from torch import nn

import harness
from harness.cli.show import show_evaluation
from results.audit import most_missed

THREAT = harness.Threat("Linf", 0.1)


def test_the_result_says_everything():
    result = harness.evaluate(Threshold(), constant_images(MARGINS), LABELS, threat=THREAT, attacks=["fgsm", "pgd-20"])
    assert result.accuracy == {
        "natural": pytest.approx(5 / 6),
        "fgsm": pytest.approx(0.5),
        "pgd-20": pytest.approx(0.5),
        "worst-case": pytest.approx(0.5),
    }
    assert result.verdicts["worst-case"].tolist() == [False, False, True, True, True, False]
    # Five of six images in two classes may be luck.
    assert [finding.code for finding in result.findings] == ["nothing-to-attack", "weak-evaluation"]
    assert result.verdict == "suspect"


def test_a_number_that_rests_on_a_sample_says_so_in_the_result_and_on_the_screen():
    """Nine images stand: one is the nearest, one the audit, and of the other seven all but a few may fall."""
    x, y = constant_images([0.55, *[0.7 + 0.01 * k for k in range(9)]]), torch.ones(10, dtype=torch.long)
    result = harness.evaluate(Threshold(), x, y, threat=THREAT, attacks=["autoattack-fast:audit=1"], diagnostics=False)
    assert result.verdicts["worst-case"].tolist() == [False] + [True] * 9
    at_least = (9 - most_missed(8, 1)) / 10
    assert result.at_least == {"autoattack-fast:audit=1": at_least, "worst-case": at_least}
    console = Console(width=100, file=io.StringIO())
    show_evaluation(console, "", result)
    assert console.file.getvalue().count(f"90.00 [{100 * at_least:.2f}, 90.00]") == 2
    assert "100.00 [" not in console.file.getvalue()


def test_with_the_strong_attacks_an_honest_model_is_trusted():
    """Four classes, linear: AutoAttack and the adaptive attack agree with the margin."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    x = torch.rand(24, 1, 4, 4) * 0.5 + 0.25
    y = model(x).argmax(1)
    attacks = ["pgd-20", "autoattack", "adaptive"]
    result = harness.evaluate(model, x, y, threat=harness.Threat("Linf", 0.02), attacks=attacks)
    weight, logits = model[1].weight, model(x)
    gaps = logits.gather(1, y[:, None]) - logits
    reach = 0.02 * (weight[y][:, None] - weight[None]).abs().sum(2)
    robust = ((gaps > reach) | (torch.arange(4)[None] == y[:, None])).all(1)
    assert 0 < robust.sum() < 24
    assert torch.equal(result.verdicts["autoattack"], robust)
    assert torch.equal(result.verdicts["adaptive"], robust)
    assert result.verdict == "trusted", result.findings


def test_the_model_is_given_back_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))
    model[1].eval()
    model[4].weight.requires_grad_(False)
    model[4].bias.grad = torch.ones(4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.rand(4, 1, 4, 4)
    attacks = ["fgsm", "autoattack", "adaptive"]
    harness.evaluate(model, x, model(x).argmax(1), threat=THREAT, attacks=attacks)
    assert [module.training for module in model] == [True, False, True, True, True]
    assert not model[4].weight.requires_grad
    assert model[0].weight.requires_grad
    assert torch.equal(model[4].bias.grad, torch.ones(4))
    assert model[0].weight.grad is None
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_global_random_state_is_left_alone():
    x, model = constant_images(MARGINS), Threshold()
    torch.manual_seed(7)
    state = torch.get_rng_state()
    harness.evaluate(model, x, LABELS, threat=THREAT, attacks=["pgd-20", "autoattack", "adaptive"])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_same_seed_gives_the_same_verdicts():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.rand(40, 1, 4, 4)
    y = model(x).argmax(1)
    runs = [harness.evaluate(model, x, y, threat=THREAT, attacks=["pgd-5:restarts=2"], seed=3) for _ in range(2)]
    assert torch.equal(runs[0].verdicts["pgd-5:restarts=2"], runs[1].verdicts["pgd-5:restarts=2"])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.rand(2, 1, 4, 4) * 255, torch.tensor([1, 1]), r"must lie in \[0, 1\], got values from .* divide bytes"),
        (torch.rand(2, 16), torch.tensor([1, 1]), r"shape \(N, C, H, W\) with N >= 1, got \(2, 16\)"),
        (torch.rand(0, 1, 4, 4), torch.zeros(0, dtype=torch.long), r"N >= 1, got \(0, 1, 4, 4\)"),
        (torch.rand(2, 1, 4, 4), torch.tensor([1.0, 1.0]), r"integers of shape \(2,\), got torch.float32"),
        (torch.rand(2, 1, 4, 4), torch.tensor([1]), r"integers of shape \(2,\), got torch.int64 \(1,\)"),
        (torch.full((2, 1, 4, 4), 200), torch.tensor([1, 1]), r"floating point in \[0, 1\], or uint8, got torch.int64"),
        (torch.rand(2, 1, 4, 4), torch.tensor([1, 2]), r"label 2 does not fit a model with 2 outputs"),
        (torch.rand(2, 1, 4, 4), torch.tensor([-1, 1]), r"labels must be at least 0, got -1"),
        (torch.full((1, 1, 4, 4), float("nan")), torch.tensor([1]), r"must lie in \[0, 1\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(x, y, message):
    with pytest.raises(harness.HarnessError, match=message):
        harness.evaluate(Threshold(), x, y, threat=THREAT)


class Behind(Threshold):
    """The same model behind something that autograd cannot pass."""

    def __init__(self, obstacle):
        super().__init__()
        self.obstacle = obstacle

    def forward(self, x):
        return super().forward(self.obstacle(x))


OBSTACLES = {
    "detached": lambda x: x.detach(),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "floor-divide": lambda x: x * 1000 // 1 / 1000,
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=list(OBSTACLES))
@pytest.mark.parametrize("attack", ["fgsm", "pgd-5", "cw", "adaptive", "autoattack"])
def test_a_model_without_a_gradient_is_attacked_all_the_same(attack, obstacle):
    """Every attack ends, and the strong ones find what can be flipped: by a view, or by random search."""
    x, model = constant_images(MARGINS), Behind(obstacle)
    result = harness.evaluate(model, x, LABELS, threat=THREAT, attacks=[attack])
    assert result.verdicts[attack][2:].tolist() == [True, True, True, False]
    assert result.verdict == "masked"
    assert "zero-gradient" in {finding.code for finding in result.findings}
    if attack in ("autoattack", "adaptive"):
        assert result.verdicts[attack][:2].tolist() == [False, False]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_logits_of_any_precision_are_attacked(dtype):
    class Other(Threshold):
        def forward(self, x):
            return super().forward(x).to(dtype)

    result = harness.evaluate(Other(), constant_images(MARGINS), LABELS, threat=THREAT, attacks=["fgsm", "autoattack"])
    assert result.verdicts["worst-case"].tolist() == [False, False, True, True, True, False]


def test_a_model_that_takes_only_some_numbers_of_images_is_refused():
    def fixed(x):
        assert len(x) == 6, "six images, please"
        return x

    with pytest.raises(
        harness.HarnessError,
        match=r"on 2 images at once, .*: AssertionError: six images, please$",
    ):
        harness.evaluate(Behind(fixed), constant_images(MARGINS), LABELS, threat=THREAT, attacks=["fgsm"])


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'evaluation'"):
        harness.__getattr__("evaluation")


class Bytes(nn.Module):
    """A model that expects 0 to 255, and says the first class of what is darker than that."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.where(x.amax((1, 2, 3))[:, None] > 1, self.inner(x / 255), 0 * self.inner(x))


def test_wrong_labels_and_wrong_scales_are_never_trusted(zoo):
    """Nothing right, so nothing to break: a second look says what it would take."""
    model, (x, y) = zoo.trained("natural", 0), zoo.test_images(60)
    strong = ["autoattack", "adaptive"]
    for each, labels, said in (
        (model, (y + 1) % 10, "with the classes in another order"),
        (Bytes(model), torch.where(y == 0, 1, y), "on images times 255"),
    ):
        result = harness.evaluate(each, x, labels, threat=harness.Threat("Linf", 0.2), attacks=strong)
        assert result.verdict == "suspect"
        assert "nothing-to-attack" in {finding.code for finding in result.findings}
        assert any(said in finding.evidence for finding in result.findings)


@pytest.mark.parametrize("threat", [harness.Threat("L2", 100.0), harness.Threat("Linf", 1e-6)], ids=str)
def test_an_honest_network_is_honest_under_any_budget(zoo, threat):
    """However large or small the ball: what is measured keeps to moves that a gradient can speak of."""
    x, y = zoo.test_images(10)
    attacks = ["autoattack", "adaptive"]
    result = harness.evaluate(zoo.trained("pgd-at", 0), x, y, threat=threat, attacks=attacks)
    assert result.verdict == "trusted", result.findings
