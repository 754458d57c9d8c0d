"""What a machine can do to a job, as one line that says how to go on."""

import errno
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from rlpt.errors import JobError
from rlpt.pipeline.jobs import Job
from rlpt.runs.files import FULL_DISK

_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


@contextmanager
def explained(job: Job, runs: Path) -> Iterator[None]:
    """Turns a full disk and a lack of memory into a JobError.

    Raises:
        JobError: says what is lacking, what is kept, and which setting to lower.
    """
    try:
        yield
    except BrokenProcessPool:
        raise JobError(
            f"{job.id}: a worker process died, perhaps for lack of memory; what is finished is kept: lower --threads"
        ) from None
    except OSError as error:
        if error.errno in FULL_DISK:
            raise JobError(
                f"{error.filename or runs}: no room left ({error.strerror}) for {job.id}; its last checkpoint is kept: "
                "make room, then run the same command again"
            ) from None
        if error.errno in _READ_ONLY and Path(error.filename or runs).is_relative_to(runs):
            raise JobError(
                f"{error.filename or runs}: cannot write there ({error.strerror}): make it writable, or choose "
                "another --runs"
            ) from None
        if error.errno == errno.ENOMEM:
            raise _lack_of_memory(job) from None
        raise
    except (MemoryError, RuntimeError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise _lack_of_memory(job) from None


def _lack_of_memory(job: Job) -> JobError:
    return JobError(f"{job.id}: out of memory; its last checkpoint is kept: lower {_memory_settings(job)} or --jobs")


def _is_lack_of_memory(error: BaseException) -> bool:
    """PyTorch has an exception for some of a GPU's memory; of the rest only the text tells."""
    texts = ("out of memory", "can't allocate memory", "_ALLOC_FAILED")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def _memory_settings(job: Job) -> str:
    if job.stage == "generate":
        return "--threads (each is a process of its own)"
    if job.stage == "train":
        return "train.batch_size, encoder.filters"
    return f"{job.method}.batch_size, encoder.filters"
