"""Errors that a user can mend: each says what was given, what is wrong and what would be right."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any


class HarnessError(Exception):
    """Something the user can fix: the command line prints it without a traceback and exits with 2."""


class JobUnreadable(HarnessError):
    """A file of one job cannot be read: that job alone is concerned."""


class Damaged(JobUnreadable):
    """A file of a finished job is not what its worker left: the job must be done again, and may be."""


class CodeFailed(HarnessError):
    """Code that the user brought (a model, a plugin) failed with an error, whose traceback is worth keeping."""

    def __init__(self, what: str, error: BaseException) -> None:
        source: BaseException = error.error if isinstance(error, CodeFailed) else error
        said = str(source).partition("\n")[0]
        super().__init__(f"{what}: {type(source).__name__}" + (f": {said}" if said else ""))
        self.error: BaseException = source


class UnknownName(HarnessError):
    """A name that nothing is registered under; the message offers the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}.")


class NameTaken(HarnessError):
    """Two owners claim one name; the message names both."""

    def __init__(self, kind: str, name: str, owner: str, claimant: str) -> None:
        super().__init__(f"{kind} {name!r} is defined twice, by {owner} and by {claimant}: rename one of them.")


def optional(module: str, extra: str) -> Any:
    """The imported module, which the package's optional dependencies of this name install.

    Raises:
        HarnessError: if it cannot be imported; the message says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise HarnessError(
            f"this needs {module.partition('.')[0]}, which cannot be imported ({error}): "
            f"pip install 'robustness-harness[{extra}]'"
        ) from error
