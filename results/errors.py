"""The one base class of errors that a user can mend."""


class HarnessError(Exception):
    """Something the user can fix: the command line prints it without a traceback and exits with 2."""
