"""The command line: parse, call, print. The only room that sees every other; torch is imported where it is needed."""

from harness.cli import compare, database, evaluate, execute, export, jobs, look, submit
from harness.cli.application import app, user_errors

__all__ = [
    "app",
    "compare",
    "database",
    "evaluate",
    "execute",
    "export",
    "jobs",
    "look",
    "main",
    "submit",
    "user_errors",
]


def main() -> None:
    """The console script: errors that a user can mend are one line and exit code 2."""
    with user_errors():
        app()
