"""Which stand-ins an attack finds; those of a model that runs out of memory are what they are with plenty of it."""

import pytest
import torch
from defended import AFTER, BEFORE, IMAGE, THREAT, Behind, derive
from oracles import linear_case
from torch import Tensor, nn

from harness.attacks import resolve
from harness.evaluation.stand_ins import stand_ins_for
from harness.views.attackable import attackable, takes_channels_last
from harness.views.standins import Expectation

CASE = linear_case(THREAT, 10, shape=IMAGE, count=16)


class Crowded(nn.Module):
    """Runs out of memory over more than ``room`` images: whenever it is asked, or where a gradient is wanted alone."""

    def __init__(self, inner: nn.Module, room: int, error: Exception, *, always: bool) -> None:
        super().__init__()
        self.inner, self.room, self.error, self.always = inner, room, error, always
        self.register_buffer("asked", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        if len(x) > self.room and (self.always or x.requires_grad):
            raise self.error
        return self.inner(x)


def out_of_memory() -> list[Exception]:
    return [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ]


MODELS = {
    "bytes": Behind(CASE.model, before=BEFORE["bytes"]),
    "numpy": Behind(CASE.model, before=BEFORE["numpy"]),
    "one-hot": Behind(CASE.model, after=AFTER["one-hot"]),
    "custom function": Behind(CASE.model, before=BEFORE["wrong backward"]),
    "honest": CASE.model,
}


def stand_ins(model: nn.Module) -> list[tuple[str, type]]:
    found = stand_ins_for(resolve("adaptive"), model, CASE.x, THREAT, {})
    return [(name, type(view)) for name, view in found.items()]


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("error", out_of_memory(), ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", MODELS)
def test_a_model_for_which_memory_runs_out_has_the_stand_ins_that_it_has_with_plenty(name, error, always):
    model = MODELS[name]
    plenty = stand_ins(Crowded(model, 10**6, error, always=always))
    assert bool(plenty) == (name != "honest")
    assert stand_ins(Crowded(model, 4, error, always=always)) == plenty


@pytest.mark.parametrize("where", ["the model", "a submodule", "a custom function", "a rule", "a twin", "a cut graph"])
@pytest.mark.parametrize("error", out_of_memory(), ids=lambda error: type(error).__name__)
def test_a_lack_of_memory_is_raised_and_everything_given_back(where, error):
    """Wherever it comes up while a gradient is wanted, also in what is run under a rule."""

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            if x.requires_grad and not torch.is_inference_mode_enabled() and torch.is_grad_enabled():
                raise error
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class Scarce(Tensor):
        """Memory runs out over the mean of this table, and over its product with numbers."""

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is torch.tensordot or (func.__name__ == "mul" and args[1].is_floating_point()):
                raise error
            return super().__torch_function__(func, types, args, kwargs or {})

    table, row = torch.eye(10).as_subclass(Scarce), torch.ones(10).as_subclass(Scarce)
    models = {
        "the model": Crowded(CASE.model, 4, error, always=False),
        "a submodule": Behind(Crowded(CASE.model, 4, error, always=False), before=BEFORE["round"]),
        "a custom function": Behind(CASE.model, before=Function.apply),
        "a rule": Behind(CASE.model, after=lambda z: table[z.argmax(1)].as_subclass(Tensor)),
        "a twin": Behind(CASE.model, after=lambda z: (row * (z > z.mean())).as_subclass(Tensor)),
        "a cut graph": Behind(Crowded(CASE.model, 4, error, always=False), before=BEFORE["numpy"]),
    }
    model = nn.Sequential(nn.BatchNorm2d(3), models[where]).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    global_before = (vars(torch.autograd.Function)["apply"], torch.inference_mode.__enter__, torch.from_numpy)
    with pytest.raises(type(error)) as raised:
        derive(model, CASE.x)
    assert raised.value is error
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    after = (vars(torch.autograd.Function)["apply"], torch.inference_mode.__enter__, torch.from_numpy)
    assert all(one is other for one, other in zip(global_before, after, strict=True))
    assert not torch._C._is_torch_function_mode_enabled()


@pytest.mark.parametrize("error", out_of_memory(), ids=lambda error: type(error).__name__)
def test_trying_a_model_lets_a_lack_of_memory_through(error):
    model = Crowded(CASE.model, 4, error, always=False)
    for attempt in (lambda: attackable(model, CASE.x), lambda: takes_channels_last(model, {}, CASE.x, CASE.y)):
        with pytest.raises(type(error)):
            attempt()


def test_an_attack_without_views_has_no_stand_ins():
    assert stand_ins_for(resolve("pgd-20"), MODELS["bytes"], CASE.x, THREAT, {}) == {}


def test_stand_ins_are_those_declared_then_those_derived_then_siblings():
    declared, sibling = {"mine": Expectation(CASE.model)}, CASE.model
    found = stand_ins_for(resolve("adaptive"), MODELS["bytes"], CASE.x, THREAT, declared, {"pgd-at": sibling})
    assert list(found) == ["mine", "substitutes", "transfer:pgd-at"]
    assert found["transfer:pgd-at"] is sibling
