"""What is looked up by an index has the gradient of a mean over the indices near it, however it is written."""

import pytest
import torch
import torch.nn.functional as F
from substituted import Of, X, gradient

from harness.views.standins import Substituted
from harness.views.trace.substitutes import Substitutes


@pytest.mark.parametrize(
    "lookup",
    [
        lambda z, table: F.embedding(z.argmax(1), table),
        lambda z, table: table[z.argmax(1)],
        lambda z, table: table[z.max(1).indices.long()],
        lambda z, table: F.one_hot(z.argmax(1), 6).float() @ table,
        lambda z, table: F.one_hot((-z).argmin(-1), 6).to(z) @ table,
        lambda z, table: torch.zeros_like(z).scatter_(1, z.argmax(1, keepdim=True), 1.0) @ table,
        lambda z, table: torch.zeros_like(z).scatter(1, z.argmax(1)[:, None], torch.ones(len(z), 1)) @ table,
        lambda z, table: (z.argmax(1).unsqueeze(1) == torch.arange(6)).float() @ table,
        lambda z, table: table.index_select(0, z.topk(1, 1).indices.flatten()),
        lambda z, table: table.expand(len(z), -1, -1).mT.gather(2, z.argmax(1)[:, None, None].expand(-1, 2, 1))[..., 0],
        lambda z, table: table.expand(len(z) + 3, -1, -1).gather(1, z.argmax(1)[:, None, None].expand(-1, 1, 2))[:, 0],
        lambda z, table: table.expand(len(z), -1, -1).gather(dim=1, index=z.argmax(1)[:, None, None].expand(-1, 1, 2))[
            :, 0
        ],
        lambda z, table: table.index_select(dim=0, index=z.argmax(1)),
        lambda z, table: torch.take_along_dim(table, indices=z.argmax(1)[:, None].expand(-1, 2), dim=0),
        lambda z, table: table[z.argmax(1), :],
        lambda z, table: table[(-z).topk(1, 1, largest=False).indices.flatten()],
        lambda z, table: table[z.argsort(1, descending=True)[:, 0]],
        lambda z, table: table[z.sort(1).indices[:, -1]],
        lambda z, table: table[z.T.sort(0).indices[-1]],
        lambda z, table: table[z.kthvalue(6, 1).indices],
        lambda z, table: table[(z.masked_fill(z < -2, -torch.inf)).argsort(1)[:, -1]],
    ],
)
def test_a_lookup_by_argmax_has_the_gradient_of_the_mean_under_a_softmax(lookup):
    """However it is written: softmax(2 z / std) @ table, with the mean standard deviation."""
    z, table = X.flatten(1)[:, :6], torch.arange(12.0).view(6, 2)
    weights = torch.tensor([1.0, -3.0])
    smooth = z.clone().requires_grad_()
    width = z.std(1, correction=0).mean() / 2
    ((smooth / width).softmax(1) @ table * weights).sum().backward()
    assert torch.allclose(gradient(lambda x: lookup(x, table), z, weights), smooth.grad, rtol=1e-3, atol=1e-5)


def test_a_table_of_integers_read_by_a_number_has_the_slope_of_its_entries():
    table = torch.arange(256) * 3
    slopes = gradient(lambda x: table[(255 * x).long()].float(), X.clamp(0.1, 0.9))
    assert torch.allclose(slopes, torch.full_like(X, 3 * 255.0), rtol=1e-3)


def test_an_index_that_becomes_a_number_has_one_stand_in():
    with Substitutes(4) as mode:
        _ = X.clone().requires_grad_().argmax(1) / 255
        assert len(mode.ledger._held) == 1


@pytest.mark.parametrize(
    "lookup", [lambda i, table: table[i], lambda i, table: table.expand(len(i), -1).gather(1, i.flatten(1)).view_as(i)]
)
def test_a_code_book_has_the_slope_of_its_entries_in_batches_of_any_size(lookup):
    """Of the squares of 256 numbers: at entry i the bell's mean rises by 2i an entry, and a unit has 255 entries."""
    table = torch.arange(256.0).square()
    x = (torch.arange(3 * 32 * 32.0) % 200 + 20.5) / 255
    images = x.view(1, 3, 32, 32).expand(100, -1, -1, -1)
    slopes = gradient(lambda x: lookup((255 * x).long(), table), images)
    assert torch.allclose(slopes, 255 * 2 * (255 * images).long().float(), rtol=1e-2)


def test_the_k_largest_written_as_a_mask_have_a_soft_membership():
    def by_value(x):
        return (x >= x.topk(2, 1).values[:, -1:]).float()

    def by_index(x):
        return torch.zeros_like(x).scatter_(1, x.topk(2, 1).indices, 1.0)

    z = X.flatten(1)[:, :6]
    excess = z - z.topk(2, 1).values[:, -1:]
    for function in (by_value, by_index):
        assert torch.equal(Substituted(Of(function))(z.clone().requires_grad_()), (excess >= 0).float())
        slope = gradient(function, z, torch.eye(6)[0])[:, 0]
        below = excess[:, 0] < 0
        p = (excess / excess.abs().mean()).sigmoid()[:, 0]
        assert torch.allclose(slope[below], (p * (1 - p) / excess.abs().mean())[below], rtol=1e-4)


def test_the_k_largest_taken_apart_are_each_one_of_them():
    """Each of the k indices has the membership of all: two lookups have twice the slope of one."""

    def both(x):
        first, second = x.topk(2, 1).indices.unbind(1)
        return table[first] + table[second]

    z, table = X.flatten(1)[:, :6], torch.arange(6.0).square()
    together = gradient(lambda x: table[x.topk(2, 1).indices].sum(1), z)
    assert together.abs().sum() > 0
    assert torch.allclose(gradient(both, z), together)
    assert torch.allclose(gradient(lambda x: 2 * table[x.topk(2, 1).indices[:, 1]], z), together)


def test_sorted_values_cost_nothing_until_an_index_is_looked_up():
    z = torch.rand(2, 500).requires_grad_()
    with Substitutes(2) as mode:
        index = z.sort(1).indices
        assert callable(mode.ledger._choices[id(index)])
        assert mode.ledger.choice(index).shape == (2, 500, 500)


def test_the_k_smallest_are_the_k_largest_of_the_negative():
    def smallest(x):
        return torch.zeros_like(x).scatter_(1, x.topk(2, 1, largest=False).indices, 1.0)

    def largest(x):
        return torch.zeros_like(x).scatter_(1, (-x).topk(2, 1).indices, 1.0)

    z = X.flatten(1)[:, :6]
    assert torch.allclose(gradient(smallest, z, torch.eye(6)[0]), gradient(largest, z, torch.eye(6)[0]))
