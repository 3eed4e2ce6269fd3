"""Errors that a user can mend; the store below raises them too, and so they are defined there."""

from results.errors import HarnessError, NameTaken, UnknownName

__all__ = ["HarnessError", "NameTaken", "UnknownName"]
