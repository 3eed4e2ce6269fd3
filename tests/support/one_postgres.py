"""A PostgreSQL to test on: this machine's programs, a private cluster in a temporary folder, on a socket alone."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "harness"


def program(name: str) -> str | None:
    """Where PostgreSQL's program is; Debian keeps most of them out of the PATH."""
    debian = [str(path.parent) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]
    return shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), *debian]))


def lacking() -> str:
    """Why there can be no PostgreSQL here; empty if there can."""
    if not program("initdb") or not program("pg_ctl"):
        return "no PostgreSQL is installed (on Debian: apt-get install postgresql)"
    if os.getuid() == 0 and "postgres" not in [user.pw_name for user in pwd.getpwall()]:
        return "PostgreSQL refuses root, and there is no user postgres"
    return ""


@contextmanager
def running() -> Iterator[str]:
    """The URL of a server's first database; the server is stopped afterwards."""
    owner = pwd.getpwnam("postgres") if os.getuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="pg-"))
    if owner:
        os.chown(place, owner.pw_uid, owner.pw_gid)

    def run(*command: object) -> None:
        user = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}
        quiet = {"stdout": subprocess.DEVNULL, "cwd": place}
        subprocess.run([str(word) for word in command], check=True, **quiet, **user)

    options = f"-F -k {place} -c listen_addresses= -c max_connections=20 -c shared_buffers=16MB"
    data, log = place / "data", place / "log.txt"
    try:
        run(program("initdb"), "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        run(program("pg_ctl"), "-D", data, "-l", log, "-o", options, "-w", "start")
        yield f"postgresql+psycopg://{USER}@/postgres?host={place}"
    finally:
        if (data / "postmaster.pid").exists():
            run(program("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(place)
