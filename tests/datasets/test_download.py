"""Downloads: mirrors, broken connections, wrong files, and what a user is told to do."""

import hashlib
import logging
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.api.errors import HarnessError
from harness.datasets import download
from harness.datasets.download import Archive

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves ``content`` under every path but ``/gone``, ranges too; the next answer ends after ``cut`` bytes."""

    content = CONTENT
    cut: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.server.asked.append((self.path, start))
        gone = self.path.startswith("/gone")
        body = b"" if gone else self.server.content[start:]
        self.send_response(404 if gone else 416 if start and not body else 206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut])
        self.server.cut = None

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def archive(server, tmp_path):
    return Archive("tiny-imagenet", f"{server.url}/official/tiny.zip", MD5, tmp_path / "data" / "tiny.zip")


def left_in(archive: Archive) -> set[str]:
    return {file.name for file in archive.path.parent.iterdir()} - {"tiny.zip.lock"}


def test_a_missing_file_is_downloaded_once(archive, server):
    assert archive.obtain() == archive.obtain() == archive.path
    assert archive.path.read_bytes() == CONTENT
    assert server.asked == [("/official/tiny.zip", 0)]
    assert left_in(archive) == {"tiny.zip"}


@pytest.mark.parametrize("folder", ["/mirror/here", "/mirror/here/"])
def test_a_mirror_is_asked_for_the_file_by_its_name(archive, server, monkeypatch, folder):
    monkeypatch.setenv("HARNESS_MIRROR_TINY_IMAGENET", server.url + folder)
    assert archive.obtain().read_bytes() == CONTENT
    assert server.asked == [("/mirror/here/tiny.zip", 0)]


def test_a_folder_of_this_machine_can_be_the_mirror(archive, tmp_path, monkeypatch, server):
    (tmp_path / "tiny.zip").write_bytes(CONTENT)
    monkeypatch.setenv("HARNESS_MIRROR_TINY_IMAGENET", tmp_path.as_uri())
    assert archive.obtain().read_bytes() == CONTENT
    assert server.asked == []


def test_a_broken_download_never_has_the_final_name_and_goes_on_where_it_ended(archive, server):
    server.cut = 100_000
    with pytest.raises(HarnessError, match=r"the connection ended after 100000 of 256000 bytes\. Try again"):
        archive.obtain()
    assert left_in(archive) == {"tiny.zip.part"}
    assert archive.obtain().read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 100_000]
    assert left_in(archive) == {"tiny.zip"}


def test_a_download_that_was_whole_but_not_yet_named_is_verified_and_used(archive, server):
    archive.path.parent.mkdir()
    archive.path.with_name("tiny.zip.part").write_bytes(CONTENT)
    assert archive.obtain().read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [len(CONTENT)]


def test_a_wrong_file_from_a_server_is_not_kept(archive, server):
    server.content = CONTENT[::-1]
    found = hashlib.md5(CONTENT[::-1], usedforsecurity=False).hexdigest()
    with pytest.raises(HarnessError, match=f"tiny.zip sent a wrong file: its MD5 is {found}, expected {MD5}"):
        archive.obtain()
    assert left_in(archive) == set()


def test_a_failed_download_says_what_to_do(tmp_path):
    """Nothing listens on the port that was just free."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    archive = Archive("cifar100", f"http://127.0.0.1:{port}/c.tgz", MD5, tmp_path / "c.tgz")
    with pytest.raises(HarnessError) as raised:
        archive.obtain()
    for part in (archive.url, "refused", "HARNESS_MIRROR_CIFAR100=https://HOST/FOLDER", str(archive.path), MD5):
        assert part in str(raised.value)


def test_a_mirror_without_the_file_is_named(archive, server, monkeypatch):
    monkeypatch.setenv("HARNESS_MIRROR_TINY_IMAGENET", f"{server.url}/gone")
    with pytest.raises(HarnessError, match=r"cannot download .*/gone/tiny.zip: HTTP Error 404: Not Found"):
        archive.obtain()
    assert left_in(archive) == set()


@pytest.mark.parametrize(("mirror", "why"), [("nonsense", "unknown url type"), ("http://[", "Invalid IPv6 URL")])
def test_a_mirror_that_is_no_address_is_named(archive, monkeypatch, mirror, why):
    monkeypatch.setenv("HARNESS_MIRROR_TINY_IMAGENET", mirror)
    with pytest.raises(HarnessError, match=f"cannot download {re.escape(mirror)}/tiny.zip: {why}"):
        archive.obtain()


def test_a_server_that_says_nothing_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/c.tgz"
        with pytest.raises(HarnessError, match=r"cannot download .*timed out"):
            Archive("cifar10", url, MD5, tmp_path / "c.tgz").obtain()


def test_the_slow_server_is_announced_before_the_wait(tmp_path, monkeypatch, caplog):
    def unreachable(*_args, **_options):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    with caplog.at_level(logging.WARNING), pytest.raises(HarnessError, match="no network in this test"):
        Archive("cifar10", url, MD5, tmp_path / "cifar-10-python.tar.gz").obtain()
    assert f"downloading {url} to {tmp_path / 'cifar-10-python.tar.gz'} (" in caplog.text
    assert "50 kB/s" in caplog.text
    assert "HARNESS_MIRROR_CIFAR10=" in caplog.text


def test_a_long_download_says_how_far_it_is(archive, monkeypatch, caplog):
    monkeypatch.setattr(download, "REPORT_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING):
        archive.obtain()
    assert re.search(r"0\.1 MB so far, \d+ kB/s, 0 min left", caplog.text)
