"""The archives that data sets come in: found or downloaded, and never used unless their MD5 is the published one."""

import hashlib
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from filelock import FileLock

from harness.api.errors import HarnessError

log = logging.getLogger("harness.datasets")
TIMEOUT_SECONDS = 30.0
REPORT_SECONDS = 60.0
_BLOCK = 1 << 16
_SLOW = {"www.cs.toronto.edu": "this server has sent about 50 kB/s since June 2026, an hour for CIFAR"}


@dataclass(frozen=True)
class Archive:
    """One published file of the data set ``dataset``: where it is served, its MD5, and where it belongs (``path``)."""

    dataset: str
    url: str
    md5: str
    path: Path

    @property
    def mirror(self) -> str:
        """The environment variable that names another folder to download from: ``HARNESS_MIRROR_CIFAR100``."""
        return "HARNESS_MIRROR_" + re.sub(r"\W", "_", self.dataset).upper()

    @property
    def source(self) -> str:
        """The address to download from: the mirror's folder with the file's name, or the official one."""
        folder = os.environ.get(self.mirror)
        return f"{folder.rstrip('/')}/{self.path.name}" if folder else self.url

    def obtain(self) -> Path:
        """The verified file, downloaded if it is not there.

        A file that is there and corrupt is left alone. A download grows under another name, goes on where a broken one
        ended, and gets its own name once it is whole and verified.

        Raises:
            HarnessError: if the file is corrupt or cannot be downloaded; the message says what to do.
        """
        if not self.path.is_file():
            part = self.path.with_name(f"{self.path.name}.part")
            part.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(part.with_suffix(".lock")):
                if not self.path.is_file():
                    self._download(part)
        found = md5_of(self.path)
        if found != self.md5:
            raise HarnessError(
                f"{self.path} is corrupt: its MD5 is {found}, expected {self.md5}. "
                f"Delete it, then the next run downloads it again from {self.source}."
            )
        return self.path

    def _download(self, part: Path) -> None:
        try:
            _fetch(self.source, part, self.mirror)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._give_up(f"cannot download {self.source}: {error or type(error).__name__}", error)
        found = md5_of(part)
        if found != self.md5:
            part.unlink()
            self._give_up(f"{self.source} sent a wrong file: its MD5 is {found}, expected {self.md5}", None)
        part.replace(self.path)

    def _give_up(self, what: str, cause: Exception | None) -> NoReturn:
        raise HarnessError(
            f"{what}. Try again (a broken download goes on where it ended), or set {self.mirror}=https://HOST/FOLDER "
            f"to a mirror that has {self.path.name}, or put that file (MD5 {self.md5}) at {self.path} by hand."
        ) from cause


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(url: str, part: Path, mirror: str) -> None:
    """Append to ``part`` what it still lacks of the file at ``url``."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "robustness-harness", "Range": f"bytes={done}-"})
    slow = _SLOW.get(request.host or "")
    hint = f" ({slow}; set {mirror}=https://HOST/FOLDER to use a mirror)" if slow else ""
    log.warning("downloading %s to %s%s", url, part.with_suffix(""), hint)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise
    with response:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        length = response.headers.get("Content-Length")
        with part.open("ab" if resumed else "wb") as file:
            _copy(response, file, int(length) + file.tell() if length else None)


def _copy(response: BinaryIO, file: BinaryIO, total: int | None) -> None:
    """Copy to the end, saying once a minute how far it is; a connection that ends early is an error."""
    start, began = file.tell(), time.monotonic()
    said = began
    while block := response.read(_BLOCK):
        file.write(block)
        if time.monotonic() - said > REPORT_SECONDS:
            said = time.monotonic()
            rate = (file.tell() - start) / (said - began)
            left = f", {(total - file.tell()) / rate / 60:.0f} min left" if total else ""
            log.warning("%.1f MB so far, %.0f kB/s%s", file.tell() / 1e6, rate / 1e3, left)
    if total is not None and file.tell() < total:
        raise ConnectionError(f"the connection ended after {file.tell()} of {total} bytes")
