"""The exceptions that users see as a single line."""

BUSY_STATUS = 75
"Exit status of a job that another process is working on (EX_TEMPFAIL of sysexits.h)."


class UsageError(Exception):
    """Something the user can mend: its text names the file and key, what was given, and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """


class Busy(UsageError):
    """Another process holds the run; trying again later may find it done."""
