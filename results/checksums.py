"""The checksums in ``result.json``: a finished job's files are what its worker left, or they are not used."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from results.errors import Damaged, JobUnreadable
from results.layout import JobFiles

_Stamp = tuple[int, int, int]


def sealed(result: Mapping[str, Any], files: JobFiles) -> str:
    """The text of ``result.json``: ``result``, and as ``files`` the SHA-256 of each file and of ``result`` itself."""
    sums = {path.name: _sum(path, _stamp(path)) for path in files.outcome if path.is_file()}
    whole = {**result, "files": sums}
    own = {files.result.name: _own_sum(json.loads(json.dumps(whole)), files.result.name)}
    return json.dumps({**whole, "files": sums | own}, indent=1)


def check(files: JobFiles, *paths: Path) -> None:
    """That these files of a finished job, and its ``result.json``, are what its worker left.

    What ``result.json`` has no checksum of is not looked at: of old jobs, nothing. A process reads a file once as
    long as size and time of change stay.

    Raises:
        Damaged: naming the first file that is not.
    """
    try:
        result = json.loads(read_bytes(files.result))
        sums = result.get("files", {})
        own = sums.get(files.result.name)
        broken = own is not None and own != _own_sum(result, files.result.name)
    except (ValueError, RecursionError, AttributeError) as error:
        raise Damaged(f"{files.result} is damaged: Invalid JSON: {error}") from error
    if broken:
        raise Damaged(f"{files.result} is damaged: it has another checksum than it says")
    for path in paths:
        if path.name not in sums:
            continue
        with _named(path):
            found = _sum(path, _stamp(path))
        if found != sums[path.name]:
            raise Damaged(f"{path} is damaged: it has another checksum than {files.result.name} says")


def is_intact(files: JobFiles, *paths: Path) -> bool:
    """Whether :func:`check` finds nothing wrong."""
    try:
        check(files, *paths)
    except JobUnreadable:
        return False
    return True


def read_bytes(path: Path) -> bytes:
    """What is in a file of a finished job.

    Raises:
        Damaged: if it is missing, or something else is in its place.
        JobUnreadable: if the system does not let it be read.
    """
    with _named(path):
        return path.read_bytes()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise Damaged(f"{path} is missing: the job directory was copied only in part, or is not one") from None
    except (IsADirectoryError, NotADirectoryError) as error:
        raise Damaged(f"{path} is damaged: {error.strerror}") from error
    except OSError as error:
        raise JobUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


@cache
def _sum(path: Path, _stamp: _Stamp) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_sum(result: Mapping[str, Any], name: str) -> str:
    """Of what JSON says, whatever its layout, without the checksum itself."""
    sums = {file: value for file, value in result["files"].items() if file != name}
    return hashlib.sha256(json.dumps({**result, "files": sums}, sort_keys=True).encode()).hexdigest()
