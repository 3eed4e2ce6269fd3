"""Checks that attacks make on their own fields."""

from harness.api.errors import HarnessError


def require_positive(owner: str, **values: float | None) -> None:
    """Every value that is given must be a positive, finite number.

    Raises:
        HarnessError: naming the attack, the field and the value.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise HarnessError(f"{owner}: {name} must be positive, got {value}")
