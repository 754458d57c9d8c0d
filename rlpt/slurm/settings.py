"""What a Slurm cluster is asked for."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from rlpt.errors import UsageError
from rlpt.settings import Positive, Section


def _matching(pattern: str, expected: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return AfterValidator(check)


Word = Annotated[str, _matching(r"[\w.,:/@+=*()-]+", "one word")]
Memory = Annotated[str, _matching(r"\d+[KMGT]?", "megabytes, or a number with K, M, G or T, such as 32G")]
# Minutes, minutes:seconds, hours:minutes:seconds, or days-hours[:minutes[:seconds]].
TimeLimit = Annotated[
    str,
    _matching(r"\d+(:\d\d){0,2}|\d+-\d\d?(:\d\d){0,2}", "minutes or a time such as 24:00:00 or 2-12:00:00"),
]


class SlurmSettings(Section):
    """`[slurm]` of a manifest or profile: one task's share of the cluster; changes no result and no job's identity.

    What is left out is the cluster's own default.
    """

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    gres: Word | None = None
    """Generic resources of pretraining and training tasks, such as "gpu:1". Generation gets none."""
    time: TimeLimit | None = None
    """Time limit of a task. A job that needs longer saves its checkpoint, goes back into the queue and goes on."""
    mem: Memory | None = None
    cpus: Positive = 4
    "CPU cores of a task, shared out among its runs."
    array_parallelism: Positive | None = None
    "Most tasks of one array that run at a time."
    runs_per_gpu: Positive = 1
    "Training runs side by side in one task."
    sif: Annotated[str, Field(min_length=1)] | None = None
    "Apptainer image to run in, a path; left out: this installation."


def with_flags(settings: SlurmSettings, flags: Mapping[str, Any]) -> SlurmSettings:
    """Returns `settings` with what command-line flags say on top; None says nothing.

    Raises:
        UsageError: if a value is not acceptable; names the flag.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return SlurmSettings.model_validate(settings.model_dump() | given)
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        message = str(first["msg"]).removeprefix("Value error, ")
        raise UsageError(f"--{flag}: {message[0].lower()}{message[1:]} (given: {first['input']!r})") from None
