"""The one exception that users see as a single line."""


class UsageError(Exception):
    """Something the user can mend: its text names the file and key, what was given, and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """
