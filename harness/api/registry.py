"""Names that users type, each with one owner."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from harness.api.errors import NameTaken, UnknownName

T = TypeVar("T")

GROUP = "harness.plugins"  # the entry-point group of modules that register names when they are imported
BUILT_IN = frozenset({"harness", "methods"})  # the packages whose names ship with the harness


class Registry(Generic[T]):
    """Names of one kind of thing, each with one owner."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def add(self, name: str) -> Callable[[T], T]:
        """A decorator that registers the decorated object under ``name``.

        Raises:
            NameTaken: if another object has the name already.
        """

        def register(entry: T) -> T:
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


def _owner(entry: Any) -> str:
    module = getattr(entry, "__module__", type(entry).__module__)
    return f"{module}.{getattr(entry, '__qualname__', type(entry).__qualname__)}"
