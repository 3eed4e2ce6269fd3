"""Negative sampling: who is drawn, how often, and in what order, against counts and a slow search in plain Python."""

from collections import Counter

import pytest
import torch
from scipy.stats import chisquare
from torch._subclasses.fake_tensor import FakeTensorMode

from methods.negatives import STRATEGIES, sample_random, sample_ranked

RANKED = ["soft", "hard", "easy"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(size: int, classes: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits (size, classes) and labels (size,) with the first two classes present."""
    y = torch.randint(classes, (size,), generator=seeded(seed))
    y[:2] = torch.tensor([0, 1])
    return torch.randn(size, classes, generator=seeded(seed + 1)), y


def candidates(strategy: str, logits: list[list[float]], y: list[int], anchor: int) -> list[int]:
    """All candidates of one anchor, those with the highest logit of its label first, by plain comparison."""
    predicted = [row.index(max(row)) for row in logits]
    found = []
    for j in range(len(y)):
        as_anchor, as_label = predicted[j] == predicted[anchor], predicted[j] == y[anchor]
        fits = {"soft": as_anchor, "hard": as_label, "easy": not as_anchor and not as_label}[strategy]
        if fits and y[j] != y[anchor]:
            found.append(j)
    return sorted(found, key=lambda j: -logits[j][y[anchor]])


def test_there_are_four_strategies():
    assert STRATEGIES == ("random", "soft", "hard", "easy")


@pytest.mark.parametrize("anchor", [0, 6, 9])
def test_random_is_uniform_over_other_classes_then_over_members(anchor):
    """Classes of 6, 3, 2 and 1 examples: each other class is equally likely, each member of it too (chi-square)."""
    y = torch.tensor([0] * 6 + [4] * 3 + [7] * 2 + [9])
    generator = seeded()
    draws = Counter(int(sample_random(y, 1, generator)[anchor, 0]) for _ in range(6000))
    sizes = Counter(y.tolist())
    expected = {j: 6000 / 3 / sizes[int(y[j])] for j in range(len(y)) if y[j] != y[anchor]}
    assert draws.keys() == expected.keys()
    assert chisquare([draws[j] for j in expected], list(expected.values())).pvalue > 0.001


def test_random_draws_of_different_anchors_are_independent():
    """Two anchors of one class, four possible negatives each: all 16 pairs are equally frequent (chi-square)."""
    y = torch.tensor([0, 0, 1, 1, 1, 1])
    generator = seeded(1)
    pairs = Counter(tuple(sample_random(y, 1, generator)[:2, 0].tolist()) for _ in range(4800))
    assert len(pairs) == 16
    assert chisquare(list(pairs.values())).pvalue > 0.001


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("size", "classes"), [(8, 2), (32, 5), (128, 10), (128, 100)])
@pytest.mark.parametrize("strategy", RANKED)
def test_ranked_strategies_agree_with_a_search(strategy, size, classes, count):
    """Candidates in the order of the logit of the anchor's label, then other examples of other classes, none twice."""
    logits, y = batch(size, classes, seed=size + classes)
    index = sample_ranked(strategy, logits, y, count, seeded())
    assert index.shape == (size, count)
    found = 0
    for anchor, row in enumerate(index.tolist()):
        best = candidates(strategy, logits.tolist(), y.tolist(), anchor)
        found += bool(best)
        assert row[: len(best)] == best[:count]
        assert len(set(row)) == count
        others = int((y != y[anchor]).sum())
        assert all(y[j] != y[anchor] for j in row[:others])
    if (strategy, classes) != ("easy", 2):
        assert found > 0


def test_each_strategy_picks_as_its_definition_says():
    """One anchor (label 0, predicted 1) and one example for each case; ties are impossible."""
    y = torch.tensor([0, 1, 1, 2, 2, 0])
    logits = torch.tensor(
        [
            [0.0, 9.0, 0.0],  # the anchor
            [1.0, 9.0, 0.0],  # predicted as the anchor is
            [2.0, 9.0, 0.0],  # likewise, with a higher logit of label 0: soft
            [9.0, 1.0, 0.0],  # predicted as the anchor's label: hard
            [0.0, 1.0, 9.0],  # predicted as neither: easy
            [8.0, 9.0, 8.5],  # of the anchor's class: never
        ]
    )
    picks = {strategy: int(sample_ranked(strategy, logits, y, 1, seeded())[0, 0]) for strategy in RANKED}
    assert picks == {"soft": 2, "hard": 3, "easy": 4}


@pytest.mark.parametrize("strategy", RANKED)
def test_an_anchor_without_candidates_draws_at_random(strategy):
    """Anchor 0 has none: its negatives are uniform over the other classes, then over members (chi-square)."""
    y = torch.tensor([0, 1, 1, 1, 2])
    rows = {"soft": (0, [1, 1, 1, 1]), "hard": (1, [2, 2, 2, 2]), "easy": (1, [1, 0, 1, 0])}
    own, others = rows[strategy]
    logits = torch.nn.functional.one_hot(torch.tensor([own, *others]), 3).float()
    generator = seeded()
    draws = Counter(int(sample_ranked(strategy, logits, y, 1, generator)[0, 0]) for _ in range(3000))
    assert candidates(strategy, logits.tolist(), y.tolist(), 0) == []
    assert chisquare([draws[j] for j in (1, 2, 3, 4)], [500, 500, 500, 1500]).pvalue > 0.001


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_negative_is_of_another_class_whatever_the_number_of_classes(strategy):
    for size, classes in [(2, 2), (5, 3), (64, 64), (128, 1000)]:
        logits, y = batch(size, classes, seed=classes)
        index = sample(strategy, logits, y, 1, seed=0)
        assert (y[index] != y[:, None]).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_missing_negatives_are_filled_with_the_anchors_own_class(strategy):
    """Two examples of another class for three anchors: the first two slots are theirs, the third shows the lack."""
    y = torch.tensor([0, 0, 0, 1, 1])
    index = sample(strategy, torch.randn(5, 2, generator=seeded(3)), y, 3, seed=0)
    differs = y[index] != y[:, None]
    assert differs.tolist() == [[True, True, False]] * 3 + [[True] * 3] * 2
    assert sample(strategy, torch.zeros(5, 2), y, 9, seed=0).shape == (5, 5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_batch_of_one_class_has_only_its_own(strategy):
    y = torch.full((4,), 3)
    index = sample(strategy, torch.randn(4, 5, generator=seeded()), y, 1, seed=0)
    assert (y[index] == y[:, None]).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_generator_alone_decides(strategy):
    """Equal seeds give equal draws whatever torch's own seed is; other seeds give others where there is a choice."""
    logits, y = torch.zeros(64, 4), batch(64, 4, seed=0)[1]
    torch.manual_seed(1)
    first = sample(strategy, logits, y, 2, seed=5)
    torch.manual_seed(2)
    assert torch.equal(first, sample(strategy, logits, y, 2, seed=5))
    if strategy == "random":
        assert not torch.equal(first, sample(strategy, logits, y, 2, seed=6))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_value_is_read_back_from_the_device(strategy):
    """On tensors without data, which refuse every ``item()``, boolean index and data-dependent shape."""
    with FakeTensorMode():
        logits, y = torch.empty(16, 5), torch.zeros(16, dtype=torch.long)
        assert sample(strategy, logits, y, 2, seed=0).shape == (16, 2)


def sample(strategy: str, logits: torch.Tensor, y: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    if strategy == "random":
        return sample_random(y, count, seeded(seed))
    return sample_ranked(strategy, logits, y, count, seeded(seed))
