"""A whole experiment as a TOML file: the options of ``harness run`` by their long names, read and written.

The command's own options say what there is, and check it: nothing is listed here.
"""

import hashlib
import json
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from harness.api.errors import HarnessError, UnknownName
from harness.compute.files import save_text
from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from typer.core import TyperOption

THIS_CALL = "This call alone"  # the panel of the options that are no part of an experiment
Setting = str | int | bool | list[str]


def read_experiment(context: typer.Context, file: Path | None) -> Path | None:
    """Give the options that the command line leaves out the values in the file; the callback of its argument.

    Paths are relative to the file.

    Raises:
        HarnessError: naming the file and the key, for what is no setting or cannot be its value.
    """
    if file is None or context.resilient_parsing:
        return file
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise HarnessError(f"the experiment {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise HarnessError(f"the experiment {file} is no TOML: {error}") from error
    known, given = _options(context), {}
    for key, value in content.items():
        if key not in known:
            raise HarnessError(f"{file}: {UnknownName('setting', key, known)}")
        try:
            given[known[key].name] = _typed(context, known[key], value, file.parent.absolute())
        except (typer.BadParameter, ValueError, RuntimeError) as error:  # the last for ~nobody
            raise HarnessError(f"{file}: {key} = {json.dumps(value, default=str)}: {error}") from error
    context.default_map = given
    return file


def settings_of(context: typer.Context) -> dict[str, Setting]:
    """What the call asks for: every setting with a value, by name, each path absolute.

    What the environment says is left out: it belongs to the machine, and may hold a password.
    """
    found = {}
    for key, option in _options(context).items():
        source = context.get_parameter_source(option.name)
        value = _plain(context.params[option.name])
        if value not in (None, False, "", []) and not (source and source.name == "ENVIRONMENT"):
            found[key] = value
    return found


def keep_experiment(workspace: WorkspaceFiles, settings: Mapping[str, Setting]) -> Path:
    """Write the settings into the workspace, as a file that :func:`read_experiment` takes; both may be moved."""
    text = as_toml({**settings, "workspace": ".."})
    file = workspace.experiment(hashlib.sha256(text.encode()).hexdigest()[:8])
    if not file.exists():
        save_text(file, text)
    return file


def as_toml(settings: Mapping[str, Setting]) -> str:
    """A line for each; JSON writes these kinds of values as TOML does, but for one character."""
    lines = (f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in settings.items())
    return "".join(lines).replace("\x7f", "\\u007f")


def as_command(context: typer.Context, settings: Mapping[str, Setting]) -> str:
    """``harness run`` with these settings as options, as a shell takes it; those that are the default are left out."""
    words, known = ["harness", "run"], _options(context)
    for key, value in settings.items():
        if value is True:
            words.append(f"--{key}")
        elif isinstance(value, list):
            words += [word for each in value for word in (f"--{key}", each)]
        elif value != known[key].default:
            words += [f"--{key}", str(value)]
    return shlex.join(words)


def _options(context: typer.Context) -> "dict[str, TyperOption]":
    """The settings of an experiment: all options but those of one call alone, by their long names."""
    options: list[Any] = [each for each in context.command.params if each.param_type_name == "option"]
    return {max(each.opts, key=len).removeprefix("--"): each for each in options if each.rich_help_panel != THIS_CALL}


def _typed(context: typer.Context, option: "TyperOption", value: Any, folder: Path) -> Any:
    """The value in a file as the command line would have it: text, which the option itself understands."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise ValueError("takes true or false")
        return value
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, bool) or not isinstance(part, str | int | float) for part in parts):
        raise ValueError("takes a text, a number, or a list of them")
    takes_path = "pathlib" in str(get_type_hints(context.command.callback)[option.name])
    texts = [
        str(folder / Path(str(part)).expanduser()) if takes_path else _located(str(part), folder) for part in parts
    ]
    text = texts if option.multiple else ",".join(texts)
    option.process_value(context, text)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Path):
        return str(value.absolute())
    return _located(value, Path.cwd()) if isinstance(value, str) else value


def _located(text: str, folder: Path) -> str:
    from harness.datasets import located

    return located(text, folder)
