"""The substitutes: values stay bit for bit what they are, gradients are what the surrogate's formula says."""

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from defended import AFTER, BEFORE, Backwards
from substituted import Of, X, gradient
from torch import Tensor, nn
from torch.autograd import Function, gradcheck
from torch.utils.checkpoint import checkpoint

from harness.views.standins import Substituted
from harness.views.trace.ledger import graft

bound_backwards = Backwards.apply


@pytest.mark.parametrize("name", [*BEFORE, *AFTER])
def test_values_are_those_of_the_model_bit_for_bit(name):
    function = BEFORE.get(name) or (lambda x: AFTER[name](x.flatten(1)))
    with_gradient = Substituted(Of(function))(X.clone().requires_grad_())
    with torch.no_grad():
        assert torch.equal(with_gradient, function(X))
    assert with_gradient.requires_grad


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda x: torch.round(3 * x), 3.0),
        (lambda x: (3 * x).floor_(), 3.0),
        (lambda x: torch.div(x, 0.25, rounding_mode="trunc"), 4.0),
        (lambda x: x // 0.25, 4.0),
        (lambda x: 2 * x - (2 * x) % 0.25, 2.0),
        (lambda x: (x * 255).byte().float(), 255.0),
        (lambda x: (x * 255).to(torch.int64).mul_(2).float(), 510.0),
        (lambda x: ((x * 255).int() >> 2).to(x), 255.0),
        (lambda x: 2 * x.detach(), 2.0),
        (lambda x: 2 * x.data, 2.0),
        (lambda x: torch.tensor(x.tolist()), 1.0),
        (lambda x: torch.as_tensor(3 * x.detach().numpy()), 1.0),
        (lambda x: x + torch.sin(1000 * x), 1.0),
        (lambda x: torch.bucketize(x, torch.arange(11) / 10).float(), 10.0),
        (lambda x: 1 * Backwards.apply(x), 1.0),
        (lambda x: 1e6 * (1e6 * x - 5e5).clamp(0, 1), 1e12),
    ],
)
def test_a_step_has_the_slope_of_what_it_rounds(function, slope):
    assert torch.allclose(gradient(function, X), torch.full_like(X, slope))


def test_a_comparison_has_the_slope_of_a_sigmoid_as_wide_as_the_differences_are():
    width = (X - 0.5).abs().mean()
    p = ((X - 0.5) / width).sigmoid()
    expected = p * (1 - p) / width
    for function in (
        lambda x: (x > 0.5).float(),
        lambda x: 1 - (x <= 0.5).to(x.dtype),
        lambda x: (~(x < 0.5)).type_as(x),
        lambda x: torch.where(x > 0.5, 1.0, 0.0),
        lambda x: torch.zeros_like(x).masked_fill_(x > 0.5, 1.0),
        lambda x: torch.ones_like(x) * (x > 0.5),
        lambda x: (torch.sign(x - 0.5) + 1) / 2,
        lambda x: torch.heaviside(x - 0.5, torch.ones(())),
    ):
        assert torch.allclose(gradient(function, X), expected, rtol=1e-4, atol=1e-6)


def test_a_mask_written_into_an_image_counts_as_far_as_it_changes_the_pixels():
    """The gradient of where(m, 0, x) is 1 - m where x stays, and minus x times the mask's slope."""

    def masked(x):
        y = x.clone()
        y[x > 0.5] = 0
        return y

    width = (X - 0.5).abs().mean()
    p = ((X - 0.5) / width).sigmoid()
    expected = 1 - (X > 0.5).float() - X * p * (1 - p) / width
    assert torch.allclose(gradient(masked, X), expected, rtol=1e-4, atol=1e-6)


def test_a_model_may_take_a_step_of_descent_of_its_own():
    """Purification, which asks whether it may differentiate."""

    def step(x):
        y = x.detach().clone().requires_grad_(True)
        assert y.requires_grad
        (slope,) = torch.autograd.grad((y**2).sum(), y)
        return y - 0.25 * slope

    def inside(x):
        with torch.enable_grad():
            y = x.detach().clone().requires_grad_()
            return y - 0.25 * (torch.autograd.grad((y**2).sum(), y)[0] if torch.is_grad_enabled() else 0)

    for function in (step, inside):
        assert torch.equal(gradient(function, X) != 0, torch.ones_like(X, dtype=torch.bool))


def descended(write):
    """A step of descent on a leaf of the model's own, written by ``write(leaf)``."""

    def step(x):
        y = torch.zeros_like(x).requires_grad_()
        with torch.enable_grad():
            ((y + x.detach() - 1) ** 2).sum().backward()
        write(y)
        return x + y

    return step


def in_place(y):
    with torch.no_grad():
        y -= 0.25 * y.grad


def in_data(y):
    y.data -= 0.25 * y.grad


@pytest.mark.parametrize("write", [in_place, in_data, lambda y: torch.optim.SGD([y], 0.25).step()])
def test_a_model_may_descend_on_a_leaf_of_its_own(write):
    """From x to the point between x and 1; what the leaf did counts as a constant."""
    x = X.clone().requires_grad_()
    output = Substituted(Of(descended(write)))(x)
    assert torch.allclose(output, (x + 1) / 2, atol=1e-6)
    assert torch.equal(torch.autograd.grad(output.sum(), x)[0], torch.ones_like(X))


def test_threads_wait_for_one_another_and_leave_everything_as_it_was():
    before = (vars(Function)["apply"], torch.from_numpy, bound_backwards)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: gradient(lambda x: bound_backwards(torch.round(3 * x)), X), range(40)))
    assert all(torch.equal(each, torch.full_like(X, 3.0)) for each in found)
    assert all(
        one is other
        for one, other in zip(before, (vars(Function)["apply"], torch.from_numpy, bound_backwards), strict=True)
    )


def test_a_custom_function_that_leaves_autograd_keeps_its_own_backward():
    class Foreign(Function):
        @staticmethod
        def forward(ctx, x):
            return torch.Tensor((2 * x).detach().numpy().tolist())

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    assert torch.allclose(gradient(lambda x: Foreign.apply(x.clone()), X), torch.full_like(X, 2.0))


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing_is_left_intact(reentrant):
    layer = nn.Conv2d(3, 3, 3)
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    plain = X.clone().requires_grad_()
    layer(plain).sum().backward()
    found = gradient(lambda x: checkpoint(layer, x, use_reentrant=reentrant), X)
    assert torch.allclose(found, plain.grad, atol=1e-6)


def test_honest_smooth_functions_keep_their_gradients():
    def honest(x):
        y = F.relu6(torch.tanh(x) * 3).clamp(0.1, 2.9).maximum(torch.tensor(0.2)).relu()
        return torch.cat([y.softmax(1), F.gelu(y), y.sin(), y.max(1, keepdim=True).values], 1).exp()

    plain = X.clone().requires_grad_()
    honest(plain).sum().backward()
    assert torch.equal(gradient(honest, X), plain.grad)


def test_a_graft_has_the_value_of_one_and_the_gradient_of_the_other():
    value = torch.randn(3, 4, dtype=torch.float64)
    path = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.equal(graft(value, path), value)
    (found,) = torch.autograd.grad((graft(value, path**3) * value).sum(), path)
    assert torch.allclose(found, 3 * path.detach() ** 2 * value)
    assert gradcheck(lambda p: graft((p**2).detach(), p**2), path)


def test_an_optimisation_within_the_forward_pass_passes_the_gradient_on():
    def purified(x):
        y = x.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            (y**2).sum().backward()
        return 2 * (y.detach() - 0.1 * y.grad.detach())

    assert torch.allclose(gradient(purified, X), torch.full_like(X, 2.0))


def test_everything_global_is_given_back_even_after_a_failure():
    before = (vars(Function)["apply"], torch.inference_mode.__enter__, torch.inference_mode.__exit__, torch.from_numpy)

    def failing(x):
        raise ValueError("out of order")

    layer = nn.Linear(5, 5)
    handle = layer.register_full_backward_hook(lambda module, gives, takes: None)
    hooks = layer._backward_hooks
    model = nn.Sequential(layer, Of(failing))
    with pytest.raises(ValueError, match="out of order"):
        Substituted(model)(X.clone().requires_grad_())
    after = (vars(Function)["apply"], torch.inference_mode.__enter__, torch.inference_mode.__exit__, torch.from_numpy)
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert layer._backward_hooks is hooks
    assert len(hooks) == 1
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert torch.is_grad_enabled()
    assert not torch._C._is_torch_function_mode_enabled()
    handle.remove()


def test_a_function_bound_to_a_name_is_found_and_the_name_given_back():
    """In a submodule's attribute and in the module where it is defined."""
    model = Of(Backwards.apply)
    bound = vars(model)["function"]
    x = X.clone().requires_grad_()
    (found,) = torch.autograd.grad(Substituted(model)(x).sum(), x)
    assert torch.equal(found, torch.ones_like(X))
    assert vars(model)["function"] is bound
    assert torch.equal(gradient(lambda x: 1 * bound_backwards(x), X), torch.ones_like(X))
    assert bound_backwards.__self__ is Backwards


def test_images_that_leave_for_numpy_together_come_back_in_their_order():
    def listed(x):
        arrays = [image.detach().numpy().copy() for image in x]
        return torch.stack([torch.from_numpy(array) for array in arrays])

    weights = torch.arange(4.0).view(4, 1, 1, 1).expand_as(X)
    assert torch.equal(gradient(listed, X, weights), weights)


def test_a_mask_that_is_gone_lends_its_gradient_to_no_other():
    """CPython gives a new tensor the identity of one that was freed."""

    def churning(x):
        y = 2 * x
        for _ in range(20):
            _ = x > 0.5
            del _
            y = y + torch.ones(x.shape, dtype=torch.bool).float()
        return y

    assert torch.equal(gradient(churning, X), torch.full_like(X, 2.0))


def test_nothing_of_a_pass_outlives_it():
    """The ledger's tensors are freed with the output."""
    view = Substituted(Of(lambda x: F.one_hot(x.flatten(1).argmax(1), 75).float() * (x > 0).float().mean()))
    counts = []
    for _ in range(3):
        view(X.clone().requires_grad_())
        gc.collect()
        counts.append(sum(issubclass(type(each), Tensor) for each in gc.get_objects()))
    assert counts[1] == counts[2]
