"""Values as users type them, against Python's own arithmetic and types."""

import pytest

from harness.api.errors import HarnessError
from harness.api.specs import Protocol
from harness.api.values import parse_value


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("8/255", float, 8 / 255),
        ("0.031", float, 0.031),
        ("1e-3", float, 1e-3),
        ("-1/4", float, -0.25),
        ("2/255", float | None, 2 / 255),
        ("null", float | None, None),
        ("7", int, 7),
        ("no", bool, False),
        ("runs/a", str, "runs/a"),
        ("7", str, "7"),
        ("[0.5, 0.75]", tuple[float, ...], (0.5, 0.75)),
    ],
)
def test_a_text_is_read_as_the_type_that_is_wanted(text, kind, value):
    found = parse_value("field", text, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("eight", float, "valid number"),
        ("8/0", float, "valid number"),
        ("1/2/3", float, "valid number"),
        ("/2", float, "valid number"),
        ("8/", float, "valid number"),
        ("7.5", int, "valid integer"),
        ("1/2", int, "valid integer"),
        ("0.5", tuple[float, ...], "valid tuple"),
    ],
)
def test_what_is_no_such_value_is_refused_with_what_was_given(text, kind, why):
    with pytest.raises(HarnessError, match=rf"^m\.field: .*{why}.*8/255") as caught:
        parse_value("m.field", text, kind)
    assert str(caught.value).endswith(f"got {text!r}")


@pytest.mark.parametrize("text", ["[0.5", "[1/2, 3/4]", '["a"'])
def test_a_broken_list_is_refused_with_the_place_where_it_breaks(text):
    with pytest.raises(HarnessError, match=r"^m\.field: this is no list such as \[0.5, 0.75\]: .* column"):
        parse_value("m.field", text, tuple[float, ...])


def test_bounds_of_a_field_are_left_to_their_owner():
    """``parse_value`` knows types alone: a rate of zero is a number, which the protocol then refuses."""
    kind = Protocol.model_fields["lr"].annotation
    assert parse_value("protocol.lr", "0/1", kind) == 0
