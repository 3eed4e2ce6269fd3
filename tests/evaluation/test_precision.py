"""A search in low precision: every success is confirmed in float32, and the end of every search is in float32."""

import pytest
import torch
from defended import Behind, Recorder, offset
from oracles import fooled, linear_case, many_of_untrained, run, untrained
from torch import nn

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.attacks.search.apgd import apgd
from harness.attacks.search.criterion import Criterion
from harness.attacks.search.found import Claim
from harness.attacks.search.searches import Searches
from harness.compute.memory import keep_freed_memory
from harness.compute.modes import channels_last, computing_in, exact_float32, is_rough
from harness.evaluation.judge import Examples, judge
from harness.views.attackable import takes_channels_last

CPU = torch.device("cpu")


def test_the_precision_is_that_of_the_block():
    model, x, _ = untrained()
    for precision, dtype in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        with computing_in(precision, CPU):
            assert model(x).dtype == dtype
            assert is_rough(CPU) == (precision == "bfloat16")
    assert not is_rough(CPU)


def test_tf32_on_a_gpu_is_not_float32():
    """PyTorch rounds the inputs of convolutions there unless it is told otherwise: successes are confirmed then too."""
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"
    assert is_rough(torch.device("cuda"))
    with exact_float32(CPU):
        assert not is_rough(torch.device("cuda"))


def coarse(inner):
    """Right in float32; wrong about everything in lower precision."""
    return Behind(inner, after=lambda z: z if z.dtype == torch.float32 else -z)


def test_a_success_that_only_low_precision_sees_does_not_count():
    case = linear_case(Threat("Linf", 0.05), 2)
    with computing_in("bfloat16", CPU), torch.no_grad():
        assert (coarse(case.model)(case.x).argmax(1) != case.y).all()
        assert not fooled(Criterion(coarse(case.model), case.x), case.x, case.y).any()


@pytest.mark.parametrize("name", ["pgd-20", "cw", "adaptive"])
def test_the_last_steps_are_in_float32(name):
    case = linear_case(Threat("Linf", 0.05), 2)
    model = Recorder(case.model)
    keep = case.robust
    with computing_in("bfloat16", CPU):
        run(resolve(name), model, case.x[keep], case.y[keep], case.threat)
    rough = [dtype == torch.bfloat16 for dtype in model.seen]
    assert sum(rough) > len(rough) / 2
    assert not any(rough[-3:])  # two steps and the look at the last iterate


@pytest.mark.parametrize("threat", [Threat("Linf", 0.008), Threat("L2", 0.08)], ids=str)
def test_low_precision_leaves_next_to_nothing_more_standing(threat):
    model, x, y = many_of_untrained(200)
    recorder = Recorder(model)
    stands = {
        precision: judge(
            recorder,
            Examples(x, y),
            resolve("pgd-20"),
            threat,
            views={},
            seed=(0,),
            batch_size=200,
            precision=precision,
        ).verdicts
        for precision in ("float32", "bfloat16")
    }
    assert sum(dtype == torch.bfloat16 for dtype in recorder.seen) >= 18
    assert 20 < stands["float32"].sum() < 180
    assert (stands["bfloat16"] & ~stands["float32"]).sum() <= 1


def test_square_ends_in_float32_too():
    """What the coarse queries cannot tell apart, the last tenth of them finds."""
    threat = Threat("Linf", 0.125)
    case = linear_case(threat, 2)
    standing = {}
    for by in (0.0, 1000.0):
        searches = Searches(Criterion(offset(case.model, by), case.x), threat, torch.Generator().manual_seed(0))
        with computing_in("bfloat16", CPU):
            _, fooled = searches.random_squares(case.x, case.y)
        assert not (fooled & case.robust).any()
        standing[by] = int((~fooled).sum())
    assert standing[1000.0] <= standing[0.0] + 1


def test_auto_pgd_ends_with_a_search_in_float32_from_its_best_iterates():
    """The loss is highest at 0.53 in every pixel; the last tenth begins there, and takes large steps again."""
    threat, x = Threat("Linf", 0.1), torch.full((3, 1, 2, 2), 0.5)
    seen = []

    def objective(x_adv, rows):
        seen.append((is_rough(CPU), x_adv.detach().clone()))
        return -((x_adv - 0.53) ** 2).flatten(1).sum(1), Claim(torch.zeros(len(x_adv), dtype=torch.bool))

    with computing_in("bfloat16", CPU):
        apgd(objective, x, threat, start=x, steps=50)
    rough = [images for is_coarse, images in seen if is_coarse]
    exact = [images for is_coarse, images in seen if not is_coarse]
    assert len(rough) == 46
    assert len(exact) == 6
    assert (rough[-1] - rough[-2]).abs().max() < 0.02
    best = min(rough, key=lambda images: float((images - 0.53).abs().max()))
    torch.testing.assert_close(exact[0], best)
    assert ((exact[1] - x).abs() - threat.eps).abs().max() < 1e-6  # 2 eps away, which ends at the ball's border


def test_the_layout_changes_no_number_and_is_given_back():
    model, x, _ = untrained()
    gray = nn.Conv2d(1, 8, 3)
    before = model(x), gray(x[:, :1]), [p.data_ptr() for p in model.parameters()]
    with channels_last(model, gray):
        assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
        assert gray(x[:, :1]).is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(model(x), before[0])
        torch.testing.assert_close(gray(x[:, :1]), before[1])
    assert torch.equal(model(x), before[0])
    assert [p.data_ptr() for p in model.parameters()] == before[2]


class Viewing(nn.Module):
    """Flattens the output of a convolution with ``view``, as many published networks do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(64, 2)

    def forward(self, x):
        h = self.conv(x)
        return self.linear(h.view(len(h), -1))


def test_a_model_that_minds_the_layout_is_attacked_in_its_own():
    model, x = Viewing(), torch.rand(8, 3, 6, 6)
    y = model(x).argmax(1)
    assert takes_channels_last(untrained()[0], {}, x, y)
    assert not takes_channels_last(model, {}, x, y)
    assert not takes_channels_last(untrained()[0], {"view": model}, x, y)
    found = judge(
        model, Examples(x, y), resolve("adaptive"), Threat("Linf", 0.3), views={"same": model}, seed=(0,), batch_size=8
    )
    assert not found.verdicts.any()
    alone = judge(
        model, Examples(x[:1], y[:1]), resolve("autoattack"), Threat("Linf", 0.3), views={}, seed=(0,), batch_size=8
    )
    assert not alone.verdicts.any()


class Particular(Viewing):
    """Insists on its layout with an error of its own."""

    def forward(self, x):
        assert self.conv(x).is_contiguous(), "another layout"
        return super().forward(x)


def test_whatever_a_model_says_about_the_layout():
    assert not takes_channels_last(Particular(), {}, torch.rand(2, 3, 6, 6), torch.zeros(2, dtype=torch.long))


def test_keeping_freed_memory_says_whether_it_can(monkeypatch):
    assert isinstance(keep_freed_memory(), bool)
    monkeypatch.setattr("sys.platform", "win32")
    assert not keep_freed_memory()
