"""Errors that a user can mend; the store below raises them too, and so they are defined there."""

from results.errors import CodeFailed, HarnessError, NameTaken, UnknownName

__all__ = ["CodeFailed", "HarnessError", "NameTaken", "UnknownName"]
