"""Every broken defence of the zoo is flagged and attacked down to its truth, and no honest model is flagged."""

import pytest
from zoo import BROKEN, HONEST, evaluate_member
from zoo.table import MARGIN

EXAMPLES = 48

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_defence_is_flagged_and_its_worst_case_is_the_truth(zoo, name):
    row = evaluate_member(BROKEN[name], zoo, 0, EXAMPLES)
    assert row.verdict in {"masked", "suspect"}
    assert row.gap <= MARGIN + 1 / EXAMPLES, row.accuracy


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_model_is_trusted(zoo, name):
    row = evaluate_member(HONEST[name], zoo, 0, EXAMPLES)
    assert row.verdict == "trusted", row.codes
