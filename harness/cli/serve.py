"""The leaderboard: written to a file, or shown on this machine while an experiment runs."""

import hashlib
import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import typer

from harness.api.errors import HarnessError
from harness.compute.files import save_text
from results.layout import WorkspaceFiles

if TYPE_CHECKING:
    from harness.run.following import Standing
    from reports.choice import Choice
    from results.store import Store

_LOOPBACK = "127.0.0.1"


def write_page(store: "Store", workspace: WorkspaceFiles, choice: "Choice") -> None:
    """Write the leaderboard of the chosen results and say where."""
    from reports.page.board import board
    from reports.page.html import TITLE, page

    found = board(store, workspace, choice)
    save_text(workspace.page, page(found.entries, choice.caption or TITLE, found.notice))
    typer.echo(f"page: {workspace.page}, {len(found.entries)} rows")


def serve(store: "Store", workspace: WorkspaceFiles, choice: "Choice", port: int, data_root: Path) -> None:
    """Show the leaderboard of a workspace on this machine alone, and follow its run, until Ctrl-C.

    Raises:
        HarnessError: if there is no such workspace, or the port is taken.
    """
    site = Site(store, workspace, choice, data_root)
    try:
        server = ThreadingHTTPServer((_LOOPBACK, port), handler(site))
    except OSError as error:
        raise HarnessError(f"port {port} cannot be used: {error.strerror}; choose another with --port") from error
    typer.echo(f"leaderboard of {workspace.root}: http://{_LOOPBACK}:{server.server_port}/ (Ctrl-C ends it)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("ended")
    finally:
        server.server_close()


class Site:
    """What is answered: the page, its data, how far the run is, and the examples of one model."""

    def __init__(self, store: "Store", workspace: WorkspaceFiles, choice: "Choice", data_root: Path) -> None:
        from harness.run.following import Follower

        self.workspace, self.choice, self.data_root = workspace, choice, data_root
        self.store, self.follower = store, Follower(workspace)
        self._lock, self._state = Lock(), ""
        self._refresh()

    def answer(self, path: str, query: dict[str, str]) -> str:
        """The document at a path.

        Raises:
            KeyError: if there is none.
            HarnessError: if it cannot be drawn, with the reason.
        """
        from reports.page.html import TITLE, data, page

        if path == "/examples":
            return self._examples(query["train"], query["checkpoint"], query["threat"])
        with self._lock:
            self._refresh()
            if path == "/status.json":
                version = hashlib.sha256(self._state.encode()).hexdigest()
                return json.dumps({"version": version, "text": describe(self.follower.look())})
            if path == "/data.json":
                return data(self._board.entries)
        if path != "/":
            raise KeyError(path)
        return page(self._board.entries, self.choice.caption or TITLE, self._board.notice, live=True)

    def _refresh(self) -> None:
        """Read the results again where the database has changed."""
        from reports.page.board import board

        state = repr(self.store.state())
        if state != self._state:
            self._board, self._state = board(self.store, self.workspace, self.choice), state

    def _examples(self, train_id: str, checkpoint: str, threat: str) -> str:
        from harness.library.examples import broken
        from reports.page.examples import examples

        found = broken(self.store, self.workspace, self.data_root, train_id, checkpoint, threat)
        return examples(f"{found.method}, {found.dataset}, {threat}, {checkpoint} checkpoint", found.pictures)


def describe(standing: "Standing") -> str:
    """One line: ``33 jobs done, 2 running (trades seed 0: epoch 3/30; ...), 70 waiting, about 12 min left``."""
    running = "; ".join(f"{job.title}: {job.detail}" if job.detail else job.title for job in standing.running)
    failed = "; ".join(f"{job.title}: {job.detail}" for job in standing.failed)
    parts = [
        f"{standing.done} jobs done",
        f"{len(standing.running)} running ({running})" if running else "",
        f"{standing.waiting} waiting" if standing.waiting else "",
        f"{len(standing.failed)} failed ({failed})" if failed else "",
        standing.left,
        "nothing is running: the same harness run goes on" if standing.waiting and not running else "",
    ]
    return ", ".join(filter(None, parts))


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    """What answers a browser: to no other host name than this machine's, whatever a foreign page makes of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(address.query).items()}
            if self.headers.get("Host", "").partition(":")[0] not in (_LOOPBACK, "localhost"):
                self._send(HTTPStatus.FORBIDDEN, "this page is for this machine alone", "text/plain")
                return
            try:
                kind = "application/json" if address.path.endswith(".json") else "text/html"
                self._send(HTTPStatus.OK, site.answer(address.path, query), kind)
            except KeyError as error:
                self._send(
                    HTTPStatus.NOT_FOUND, f"there is nothing at {address.path}: {error} is missing", "text/plain"
                )
            except HarnessError as error:
                self._send(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), "text/plain")

        def _send(self, status: HTTPStatus, text: str, kind: str) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    return Handler
