"""The exceptions that users see as a single line."""

import math
from collections.abc import Mapping

BUSY_STATUS = 75
"Exit status of a job that another process is working on (EX_TEMPFAIL of sysexits.h)."


class UsageError(Exception):
    """Something the user can mend: its text names the file and key, what was given, and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """


class JobError(Exception):
    """A job that cannot go on now; its last checkpoint is intact, and its text says what to do.

    The command line prints it without a traceback and exits with status 1.
    """


def trouble(error: OSError) -> str:
    """Says in one line what a file system refused."""
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}: check that the path exists and can be read or written"


LOWER_RATE = "lower the learning rate (agent.critic_learning_rate, ik.learning_rate, imagenet.learning_rate)"


class Diverged(JobError):
    """Training came to numbers that are not finite."""


def require_finite(values: Mapping[str, float], place: str) -> None:
    """Raises Diverged if a value (name → number) is not finite; `place` says where, such as "step 17"."""
    for name, value in values.items():
        if not math.isfinite(value):
            raise Diverged(f"{place}: {name} is {value}; what was saved before is kept: {LOWER_RATE}")


class Busy(UsageError):
    """Another process holds the run; trying again later may find it done."""
