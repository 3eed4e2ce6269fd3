"""The plugins that define what users name: found by entry point or given as a file.

A plugin is a module named in the entry-point group ``harness.plugins`` (or a file given with ``--plugin``).
Importing it registers its methods, data sets, models and attacks with the decorators of :mod:`harness.api`. The
built-in ones come through the same door.
"""

import ast
import hashlib
import importlib.util
import logging
import sys
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.api.attack import attacks
from harness.api.data import datasets
from harness.api.errors import CodeFailed, HarnessError, NameTaken
from harness.api.method import methods
from harness.api.model import models
from harness.api.registry import BUILT_IN, GROUP, Registry

REGISTRIES: dict[str, Registry[Any]] = {
    "methods": methods,
    "models": models,
    "datasets": datasets,
    "attacks": attacks,
}

log = logging.getLogger("harness")
skipped: dict[str, str] = {}  # installed plugins that are broken, by module: what is wrong
_loaded: set[str] = set()


def code_of(entry: Any) -> str | None:
    """The hash of the file that defines a third party's method, model or attack: other code, other job.

    None for what ships with the harness, whose numerics have a version of their own.
    """
    module = sys.modules[entry.__module__]
    if module.__name__.partition(".")[0] in BUILT_IN or not module.__file__:
        return None
    return code_in(Path(module.__file__))


def code_in(file: Path) -> str:
    """The hash of what a Python file computes: comments, docstrings and layout do not count."""
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body[0] = ast.Pass()
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:16]


def load_plugins(files: Iterable[Path] = ()) -> None:
    """Import every installed plugin once, then the given plugin files.

    A third party's plugin that fails to import is reported by name and ``skipped``; a broken built-in plugin, a broken
    file that the user named, and a name taken twice are errors.

    Raises:
        HarnessError: if a file is missing or fails to import.
        NameTaken: if two plugins claim one name.
    """
    for point in entry_points(group=GROUP):
        if point.value not in _loaded:
            _load_installed(point.value, point.dist.name if point.dist else "unknown package")
    for file in files:
        path = file.resolve()
        if str(path) not in _loaded:
            import_file(file, "plugin")
            _loaded.add(str(path))


def _load_installed(module: str, package: str) -> None:
    before = [registry.snapshot() for registry in REGISTRIES.values()]
    try:
        importlib.import_module(module)
    except NameTaken:
        raise
    except (Exception, SystemExit) as error:
        if package == "robustness-harness":
            raise
        for registry, entries in zip(REGISTRIES.values(), before, strict=True):
            registry.restore(entries)
        skipped[module] = f"plugin {module!r} of package {package!r} is broken: {type(error).__name__}: {error}"
        log.warning("%s; it is skipped: mend or uninstall it", skipped[module])
    _loaded.add(module)


def import_file(file: Path, kind: str) -> ModuleType:
    """The module that a user's Python file defines; ``kind`` (``plugin``, ``model``) names the file in messages.

    It can import what lies beside it, then and later: its folder goes to the end of ``sys.path``, where it hides no
    installed package.

    Raises:
        HarnessError: if the file is missing, is no Python file, fails to import or ends the program.
    """
    if not file.is_file():
        raise HarnessError(f"{kind} file {file} does not exist")
    name = f"harness_{kind}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file.resolve())
    if spec is None or spec.loader is None:
        raise HarnessError(f"{kind} file {file} is not a Python file: its name must end in .py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    if (folder := str(file.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except HarnessError:
        raise
    except SystemExit as error:
        what = f"{kind} file {file} ends the program: put what runs a script under if __name__ == '__main__'"
        raise CodeFailed(what, error) from error
    except Exception as error:
        raise CodeFailed(f"{kind} file {file} does not import", error) from error
    return module
