"""Names that users type, and the plugins that define them.

A plugin is a module named in the entry-point group ``harness.plugins`` (or a file given with ``--plugin``).
Importing it registers its methods, data sets, models and attacks with the decorators below. The built-in ones come
through the same door.
"""

import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from harness.errors import HarnessError, NameTaken, UnknownName

if TYPE_CHECKING:
    from harness.attacks.base import Attack
    from harness.datasets.base import Data
    from harness.method import Method

T = TypeVar("T")
GROUP = "harness.plugins"


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


methods: Registry["type[Method]"] = Registry("method")
models: Registry["Callable[..., Any]"] = Registry("model")
datasets: Registry["Callable[[Path], Data]"] = Registry("data set")
attacks: Registry["type[Attack]"] = Registry("attack")
_REGISTRIES: tuple[Registry[Any], ...] = (methods, models, datasets, attacks)

_loaded: set[str] = set()


def code_of(entry: Any) -> str | None:
    """The hash of the file that defines a third party's method, model or attack: other code, other job.

    None for what ships with the harness, whose numerics have a version of their own.
    """
    module = sys.modules[entry.__module__]
    if module.__name__.partition(".")[0] in ("harness", "methods") or not module.__file__:
        return None
    return hashlib.sha256(Path(module.__file__).read_bytes()).hexdigest()[:16]


def load_plugins(files: Iterable[Path] = ()) -> None:
    """Import every installed plugin once, then the given plugin files.

    A third party's plugin that fails to import is reported by name and skipped; a broken built-in plugin, a broken
    file that the user named, and a name taken twice are errors.

    Raises:
        HarnessError: if a file is missing or fails to import.
        NameTaken: if two plugins claim one name.
    """
    for point in entry_points(group=GROUP):
        if point.value not in _loaded:
            _load_installed(point.value, point.dist.name if point.dist else "unknown package")
    for file in files:
        _load_file(file)


def _load_installed(module: str, package: str) -> None:
    before = [registry.snapshot() for registry in _REGISTRIES]
    try:
        importlib.import_module(module)
    except HarnessError:
        raise
    except Exception as error:
        if package == "robustness-harness":
            raise
        for registry, entries in zip(_REGISTRIES, before, strict=True):
            registry.restore(entries)
        warnings.warn(
            f"plugin {module!r} of package {package!r} is broken and was skipped: {type(error).__name__}: {error}",
            stacklevel=3,
        )
    _loaded.add(module)


def _load_file(file: Path) -> None:
    path = file.resolve()
    name = f"harness_plugin_{path.stem}"
    if str(path) in _loaded:
        return
    if not path.is_file():
        raise HarnessError(f"plugin file {file} does not exist")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise HarnessError(f"plugin file {file} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"plugin file {file} does not import: {type(error).__name__}: {error}") from error
    _loaded.add(str(path))


def _owner(entry: Any) -> str:
    module = getattr(entry, "__module__", type(entry).__module__)
    return f"{module}.{getattr(entry, '__qualname__', type(entry).__qualname__)}"
