"""The command line as a user meets it, without the seconds that a process of its own takes to import torch."""

import io
import sys
from contextlib import redirect_stderr
from unittest.mock import patch

from typer.testing import CliRunner

from harness.api.errors import HarnessError
from harness.cli import app, user_errors


def harness(*arguments: object, code: int = 0) -> str:
    """Run ``harness ARGUMENTS`` in this process, which must end with this exit code: its stdout, then its stderr.

    As ``harness.cli.main`` does, ``user_errors`` shows a HarnessError or OSError; all others are the test's to see.
    """
    environment = {"COLUMNS": "160", "TERM": "dumb"}
    words = [str(argument) for argument in arguments]
    with patch.object(sys, "argv", ["harness", *words]):
        found = CliRunner().invoke(app, words, env=environment, prog_name="harness")
    output, ended = found.stdout + found.stderr, found.exit_code
    if isinstance(found.exception, HarnessError | OSError):
        message, ended = _as_main_shows(found.exception)
        output += message
    elif found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert ended == code, output
    assert "Traceback" not in output
    return output


def _as_main_shows(error: Exception) -> tuple[str, object]:
    shown = io.StringIO()
    try:
        with redirect_stderr(shown), user_errors():
            raise error
    except SystemExit as ended:
        return shown.getvalue(), ended.code
