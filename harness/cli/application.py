"""What the commands share: the application, their options, and how errors are shown."""

import errno
import re
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console

from harness.api.errors import CodeFailed, HarnessError
from harness.plan.choices import ATTACKS
from harness.version import __version__

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, attack and compare adversarial-training methods under one protocol.",
)

DEFAULT_ATTACKS = ",".join(ATTACKS)


def completing(kind: str) -> Callable[[str], list[str]]:
    """What a shell offers for the last name of a comma-separated list of ``methods``, ``models``, ...."""

    def complete(incomplete: str) -> list[str]:
        from harness.plugins import REGISTRIES, load_plugins

        load_plugins()
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in REGISTRIES[kind] if name.startswith(last)]

    return complete


WorkspacePath = Annotated[Path, typer.Option("--workspace", "-w", help="Where jobs, database and reports lie.")]
DataRoot = Annotated[Path, typer.Option(envvar="HARNESS_DATA", help="Where data sets are kept and downloaded to.")]
Dataset = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        help="A data set (see harness datasets), imagefolder:PATH or npz:FILE.",
        autocompletion=completing("datasets"),
    ),
]
Attacks = Annotated[
    str,
    typer.Option(
        help=f"Comma-separated, e.g. fgsm,pgd-100:restarts=5 (see harness attacks); default: {', '.join(ATTACKS)}.",
        show_default=False,
        autocompletion=completing("attacks"),
    ),
]
Eps = Annotated[str | None, typer.Option(help="Radius for images in [0, 1], e.g. 8/255.")]
Norm = Annotated[
    Literal["Linf", "L2"] | None, typer.Option(help="Default: the data set's.", case_sensitive=False, metavar="Linf|L2")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with your own methods, models, data sets or attacks; repeatable."),
]


def _without_password(context: typer.Context, option: typer.CallbackParam, url: str | None) -> str | None:
    """Refuse a password that was typed: commands are kept in the workspace, and every user of the machine sees them."""
    source = context.get_parameter_source(option.name or "")
    if url and source and source.name == "COMMANDLINE" and re.search("://[^/@]*:[^/@]*@", url):
        raise typer.BadParameter("holds a password: put it into ~/.pgpass, PGPASSWORD or HARNESS_STORE")
    return url


StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="HARNESS_STORE",
        metavar="URL",
        callback=_without_password,
        help="A database in place of the workspace's own, e.g. postgresql+psycopg://me@host/db.",
    ),
]
RUNS, DATA = Path("runs"), Path("data")
_NOT_A_FOLDER = ": a file is in the place of a folder; move it away"
_REMEDIES = {
    errno.ENOSPC: ": free some space, and the same command goes on",
    errno.EDQUOT: ": free some space, and the same command goes on",
    errno.EROFS: ": name a place that can be written, with --workspace or --data-root",
    errno.EACCES: ": name a place that can be written, with --workspace or --data-root",
    errno.EEXIST: _NOT_A_FOLDER,
    errno.ENOTDIR: _NOT_A_FOLDER,
}


@contextmanager
def user_errors() -> Iterator[None]:
    """Print a HarnessError, or what the operating system refused, in one line.

    The traceback of a user's own code is kept in a file, which is named; so is that of the latter.
    """
    try:
        yield
    except HarnessError as error:
        _end(str(error), error.error if isinstance(error, CodeFailed) else None)
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror}{_REMEDIES.get(error.errno, '')}", error)


def _end(message: str, error: BaseException | None) -> NoReturn:
    kept = f" (traceback: {_kept(error)})" if error else ""
    Console(stderr=True).print(f"error: {message}{kept}", markup=False, highlight=False, soft_wrap=True)
    sys.exit(2)


def _kept(error: BaseException) -> str:
    lines = traceback.format_exception(error)
    try:
        with NamedTemporaryFile("w", prefix="harness-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.writelines(lines)
    except OSError:  # the disk for such files may be the full one
        return "nowhere to keep it"
    return file.name


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"harness {__version__}")
        raise typer.Exit


def parse_eps(text: str | None) -> float | None:
    """A radius as a number or a fraction such as 8/255; None where none was given."""
    from harness.api.values import parse_value

    return None if text is None else parse_value("eps", text, float)


def typed(command: str | None = None) -> str:
    """What the user typed and where, as a shell takes it; or, in its place, a command that asks for the same."""
    return f"cd {shlex.quote(str(Path.cwd()))}\n{command or shlex.join(['harness', *sys.argv[1:]])}\n"


def names(text: str) -> list[str]:
    """The parts of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
