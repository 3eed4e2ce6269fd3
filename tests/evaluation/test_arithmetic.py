"""Whether a search may be in low precision is tried beforehand, on the model and its stand-ins."""

import pytest
import torch
from defended import Behind, Recorder, deaf, offset
from oracles import linear_case
from torch import nn

from harness.api.threat import Threat
from harness.attacks import resolve
from harness.compute.modes import is_rough
from harness.evaluation.arithmetic import search_arithmetic
from harness.evaluation.judge import Examples, judge

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["pgd-20", "cw"])
def test_where_low_precision_sees_nothing_the_search_is_in_float32(name):
    threat = Threat("Linf", 0.05)
    case = linear_case(threat, 2)
    mine = case.y == 0
    found = judge(
        deaf(case.model),
        Examples(case.x[mine], case.y[mine]),
        resolve(name + ":random_start=false"),
        threat,
        views={},
        seed=(0,),
        batch_size=100,
        precision="bfloat16",
    )
    assert torch.equal(found.verdicts, case.robust[mine])


@pytest.mark.parametrize("name", ["pgd-20", "autoattack"])
def test_what_drowns_in_low_precision_is_searched_in_float32(name):
    """Square alone would be blind: it compares margins, which all look alike."""
    case = linear_case(Threat("Linf", 0.125), 2)
    model = Recorder(offset(case.model, 1000.0))
    found = judge(
        model,
        Examples(case.x, case.y),
        resolve(name),
        case.threat,
        views={},
        seed=(0,),
        batch_size=100,
        precision="bfloat16",
    )
    assert torch.equal(found.verdicts, case.robust)
    assert sum(dtype == torch.bfloat16 for dtype in model.seen) <= 12  # a trial of the precision, nothing else


class Gradients(nn.Module):
    """In low precision the logits are right and their gradient is another's."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        logits = self.inner(x)
        if logits.dtype == torch.float32:
            return logits
        other = self.inner(x.flip(-1))
        return other + (logits - other).detach()


def failing(inner):
    """Leaves torch, which knows no bfloat16 elsewhere."""
    return Behind(inner, after=lambda z: z + 0 * torch.from_numpy(z.detach().numpy()))


def noisy(inner):
    """Adds noise to the image: its own, which must not be taken for rounding."""
    return Behind(inner, before=lambda x: x + 0.3 * torch.randn_like(x))


def flat(inner):
    """Has no gradient in any precision: nothing that low precision could hide."""
    return Behind(inner, before=lambda x: (x * 4).round() / 4)


WRAPS = {
    "plain": (lambda model: model, "bfloat16"),
    "random": (noisy, "bfloat16"),
    "flat": (flat, "bfloat16"),
    "offset": (lambda model: offset(model, 1000.0), "float32"),
    "deaf": (deaf, "float32"),
    "gradients": (Gradients, "float32"),
    "failing": (failing, "float32"),
}


@pytest.mark.parametrize("name", WRAPS)
@pytest.mark.parametrize("threat", [Threat("Linf", 0.125), Threat("L2", 0.75)], ids=str)
def test_the_precision_of_the_search_is_the_lower_one_only_where_it_shows_the_same(name, threat):
    wrap, precision = WRAPS[name]
    case = linear_case(threat, 2)
    model = wrap(case.model)
    for views in ({}, {"itself": model}):
        judged = case.model if views else model
        before = torch.random.get_rng_state()
        for wanted, used in (("bfloat16", precision), ("float32", "float32")):
            with search_arithmetic(judged, views, case.x, case.y, threat, wanted)():
                assert is_rough(CPU) == (used == "bfloat16")
        assert torch.equal(torch.random.get_rng_state(), before)
    assert not is_rough(CPU)


def test_one_image_of_ten_may_look_different():
    """Two of twelve may not."""
    case = linear_case(Threat("Linf", 0.125), 2)

    class Elsewhere(nn.Module):
        """Deaf on images brighter in the first pixel than this."""

        def __init__(self, limit):
            super().__init__()
            self.near, self.far, self.limit = case.model, deaf(case.model), limit

        def forward(self, x):
            return torch.where(x[:, 0, 0, :1] > self.limit, self.far(x), self.near(x))

    edge = case.x[:, 0, 0, 0].sort(descending=True).values
    x = case.x.clone()
    x[:, 0, 0, 0] = torch.where(x[:, 0, 0, 0] >= edge[1], 1.0, 0.0)
    for limit, used in ((0.5, "float32"), (2.0, "bfloat16")):
        with search_arithmetic(Elsewhere(limit), {}, x, case.y, case.threat, "bfloat16")():
            assert is_rough(CPU) == (used == "bfloat16")
    x[case.x[:, 0, 0, 0] == edge[1], 0, 0, 0] = 0.0
    with search_arithmetic(Elsewhere(0.5), {}, x, case.y, case.threat, "bfloat16")():
        assert is_rough(CPU)


def test_a_resumed_evaluation_searches_as_it_began(tmp_path):
    """The first batch's images show the same in both precisions, the second's do not."""
    case = linear_case(Threat("Linf", 0.125), 2, count=32)

    class Later(nn.Module):
        def __init__(self):
            super().__init__()
            self.near, self.far = case.model, deaf(case.model)

        def forward(self, x):
            return torch.where(x[:, 0, 0, :1] > 0.5, self.far(x), self.near(x))

    x = case.x.clone()
    x[:16, 0, 0, 0], x[16:, 0, 0, 0] = 0.1, 0.9
    model = Recorder(Later())
    with torch.no_grad():
        y = model(x).argmax(1)

    def evaluate(state, report):
        model.seen.clear()
        return judge(
            model,
            Examples(x, y),
            resolve("pgd-20"),
            case.threat,
            views={},
            seed=(0,),
            batch_size=16,
            precision="bfloat16",
            state=state,
            report=report,
        )

    def stop(progress):
        if progress["examples"] == 16:
            raise KeyboardInterrupt

    whole = evaluate(None, lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        evaluate(tmp_path / "state.pt", stop)
    resumed = evaluate(tmp_path / "state.pt", lambda _: None)
    assert sum(dtype == torch.bfloat16 for dtype in model.seen) >= 18
    assert torch.equal(resumed.verdicts, whole.verdicts)
    assert resumed.forwards == whole.forwards
