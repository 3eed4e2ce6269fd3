"""Names that users type, each with one owner."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields
from typing import Any, Generic, TypeVar

from harness.api.errors import HarnessError, NameTaken, UnknownName

T = TypeVar("T")

GROUP = "harness.plugins"  # the entry-point group of modules that register names when they are imported
BUILT_IN = frozenset({"harness", "methods"})  # the packages whose names ship with the harness


class Registry(Generic[T]):
    """Names of one kind of thing, each with one owner.

    ``flaw`` says what is wrong with an object that is to be registered, and what would be right; nothing if it is fine.
    """

    def __init__(self, kind: str, flaw: Callable[[Any], str] = lambda entry: "") -> None:
        self.kind, self._flaw = kind, flaw
        self._entries: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that registers the decorated object under ``name``.

        Raises:
            HarnessError: if the name is none, or the object cannot be used as what it is registered for.
            NameTaken: if another object has the name already.
        """
        if not is_name(name):
            raise HarnessError(
                f"a {self.kind} is registered under a name without spaces, commas, brackets and @, as in "
                f'@{self.kind.replace(" ", "")}("my-{self.kind.split()[0]}"), got {name!r}'
            )

        def register(entry: T) -> T:
            if flaw := self._flaw(entry):
                raise HarnessError(f"{self.kind} {name!r} ({_owner(entry)}) {flaw}")
            taken = self._entries.setdefault(name, entry)
            if taken is not entry:
                raise NameTaken(self.kind, name, _owner(taken), _owner(entry))
            return entry

        return register

    def __getitem__(self, name: str) -> T:
        """The object registered under ``name``, or :class:`UnknownName` with the nearest name."""
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownName(self.kind, name, self._entries) from None

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def items(self) -> Iterable[tuple[str, T]]:
        """Names and objects in the order of registration."""
        return self._entries.items()

    def snapshot(self) -> dict[str, T]:
        """The names as they are now, for :meth:`restore`."""
        return dict(self._entries)

    def restore(self, entries: dict[str, T]) -> None:
        """Go back to a snapshot: a plugin that broke half-way leaves no names behind."""
        self._entries = dict(entries)


def is_name(name: object) -> bool:
    """Whether users can type it in lists, and tables can add what it was trained with."""
    return isinstance(name, str) and bool(re.fullmatch(r"[^\s,@()]+", name))


def dataclass_flaw(entry: Any) -> str:
    """What keeps a class from being made of its parameters, whose names, types and defaults are its fields."""
    if "__dataclass_fields__" not in vars(entry):
        return "is no dataclass: write @dataclass(frozen=True, kw_only=True) right above the class, below its name"
    bare = [each.name for each in fields(entry) if each.default is MISSING and each.default_factory is MISSING]
    if bare:
        return f"has no default for its parameter {bare[0]!r}: every field needs one"
    return "" if isinstance(getattr(entry, "summary", None), str) else 'has no summary: write summary = "what it does"'


def _owner(entry: Any) -> str:
    module = getattr(entry, "__module__", type(entry).__module__)
    return f"{module}.{getattr(entry, '__qualname__', type(entry).__qualname__)}"
