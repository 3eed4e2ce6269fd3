"""Square: closed forms, the paper's patterns, the authors' implementation, and nothing asked twice."""

import math

import pyautoattack.square
import pytest
import torch
from oracles import boxed_linf_case, linear_case, many_of_untrained, untrained

from harness.api.threat import Threat
from harness.attacks.losses import margin
from harness.attacks.search import square_moves
from harness.attacks.search.found import Claim
from harness.attacks.search.square import square

LINF = Threat("Linf", 0.05)


def attack(model, x, y, threat, *, queries=5000, seed=0):
    """Square, and how many images passed through the model."""
    seen = []

    def margins(x_adv, rows):
        seen.append(len(rows))
        with torch.no_grad():
            logits = model(x_adv)
        return margin(logits, y[rows]), Claim(logits.argmax(1) != y[rows])

    found = square(margins, x, threat, generator=torch.Generator().manual_seed(seed), queries=queries)
    return *found, sum(seen)


def test_against_a_linear_model_it_finds_all_that_there_is():
    case = linear_case(LINF, 4)
    x_adv, fooled, _ = attack(case.model, case.x, case.y, LINF)
    assert torch.equal(fooled, ~case.robust)
    assert torch.equal(case.model(x_adv).argmax(1) != case.y, fooled)
    assert LINF.contains(case.x, x_adv).all()


def test_at_the_bounds_of_the_image_it_is_exact_too():
    case = boxed_linf_case(LINF, count=60)
    right = case.model(case.x).argmax(1) == case.y
    _, fooled, _ = attack(case.model, case.x[right], case.y[right], LINF)
    assert torch.equal(fooled, ~case.robust[right])


@pytest.mark.parametrize("threat", [Threat("Linf", 0.006), Threat("L2", 0.1)], ids=str)
def test_of_what_the_authors_implementation_breaks_it_misses_next_to_nothing(threat):
    """Other random numbers, so a close call may fall to one and not to the other: two of a hundred at most."""
    model, x, y = many_of_untrained(100)
    theirs = pyautoattack.square.SquareAttack(
        model, norm=threat.norm, eps=threat.eps, n_queries=1000, seed=0, resc_schedule=False
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        broken = model(theirs.perturb(x, y)).argmax(1) != y
    x_adv, fooled, _ = attack(model, x, y, threat, queries=1000)
    assert 20 < broken.sum() < 98
    assert (broken & ~fooled).sum() <= 2
    assert threat.contains(x, x_adv).all()


def test_the_margin_never_falls_back():
    model, x, y = untrained()
    before = None
    for queries in (0, 30, 200):
        x_adv, fooled, _ = attack(model, x, y, Threat("Linf", 0.01), queries=queries)
        with torch.no_grad():
            now = margin(model(x_adv), y)
        assert before is None or (now[~fooled] >= before[~fooled] - 1e-6).all()
        before = now


def test_a_square_that_was_turned_down_is_not_asked_again(monkeypatch):
    """The same answers with the memory and without; on 6x6 pixels most squares of one pixel come again and again."""
    case = linear_case(LINF, 4)
    model, x, y = case.model.double(), case.x.double(), case.y
    remembered = attack(model, x, y, LINF)
    monkeypatch.setattr(square_moves, "_REMEMBERED", 0)
    forgotten = attack(model, x, y, LINF)
    assert torch.equal(remembered[1], forgotten[1])
    torch.testing.assert_close(remembered[0], forgotten[0], rtol=0, atol=1e-12)
    assert remembered[2] < 0.2 * forgotten[2]


def test_it_goes_on_where_images_are_not_square_and_have_colours():
    threat = Threat("L2", 0.5)
    for limits in (threat, LINF):
        case = linear_case(limits, 2, shape=(3, 5, 8))
        x_adv, fooled, _ = attack(case.model, case.x, case.y, limits, queries=300)
        assert limits.contains(case.x, x_adv).all()
        assert not (fooled & case.robust).any()


@pytest.mark.parametrize(("height", "width"), [(3, 3), (4, 4), (2, 5), (3, 7)])
def test_the_pattern_of_the_l2_squares_is_the_papers(height, width):
    """Equation 2, written out with its indices from 1."""

    def expected(r, s):
        n = max(height, width) // 2
        top = n - max(abs(r - height // 2 - 1), abs(s - width // 2 - 1))
        return sum(1 / (n + 1 - k) ** 2 for k in range(top + 1))

    pattern = [[expected(r, s) for s in range(1, width + 1)] for r in range(1, height + 1)]
    torch.testing.assert_close(square_moves._pyramid(height, width), torch.tensor(pattern, dtype=torch.float32))


def test_an_l2_proposal_uses_the_whole_ball():
    threat, x = Threat("L2", 0.5), torch.full((4, 3, 9, 9), 0.5)
    moves = square_moves.moves_for(threat, x, torch.Generator().manual_seed(0))
    start = moves.start()
    moved = moves.propose(start, torch.arange(4), 3.0)
    for images in (start, moved.x):
        torch.testing.assert_close(threat.distance(x, images), torch.full((4,), 0.5))
    changed = (moved.x - start).abs().amax((0, 1)) > 1e-3
    assert 0 < changed.sum() <= 2 * 9


def test_stripes_and_squares_reach_the_edge_of_the_ball():
    threat, x = Threat("Linf", 0.1), torch.full((50, 1, 4, 4), 0.5)
    moves = square_moves.moves_for(threat, x, torch.Generator().manual_seed(0))
    start = moves.start()
    assert torch.allclose((start - x).abs(), torch.tensor(0.1))
    assert all((start[..., :1, :] == start).flatten().tolist())
    touched = torch.zeros(4, 4, dtype=torch.bool)
    for _ in range(200):
        moved = moves.propose(start.clone(), torch.arange(50), math.sqrt(0.8))
        if len(moved.rows):
            touched |= (moved.x != start[moved.rows]).flatten(0, 1).any(0)
    assert touched.all()
