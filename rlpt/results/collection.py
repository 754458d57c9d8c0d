"""Runs as a repository keeps them: what is small of each."""

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlpt.errors import UsageError
from rlpt.pipeline.jobs import Job
from rlpt.results.run_files import EPISODES_FILE, EPOCHS_FILE
from rlpt.runs.checksums import PROVENANCE_FILE, damage, read_provenance
from rlpt.runs.files import whole_folder, write_json
from rlpt.runs.folder import SESSIONS_FILE, SETTINGS_FILE, RunFolder
from rlpt.runs.provenance import read_sessions

LARGEST_FILE = 256 * 1024
"Bytes: tables, settings and small encoders stay below; datasets, policies and replay buffers do not."
_BOARD = "tensorboard/"
_UNFINISHED_PATTERNS = ("*.csv", SETTINGS_FILE)


def collect_runs(jobs: Iterable[Job], runs: Path, out: Path) -> Counter[str]:
    """Copies what is small of every run to `out`, laid out like a folder of runs.

    Of a finished run, every file up to LARGEST_FILE but TensorBoard's; its record says which were left out. Of an
    unfinished one, pretraining or training, its tables up to where it is, replaced whenever it has got on. Nothing in
    `out` is lost: a finished run that is there already stays, and so do runs that `runs` does not have.

    Args:
        jobs: whose runs to look for.
        runs: where they ran.
        out: the collection; made if need be.

    Returns:
        How many runs were added "finished" or "unfinished", or "known": taken up before, as far as they are now.

    Raises:
        UsageError: if a file is not what its job wrote, or `out` cannot be written.
    """
    collected: Counter[str] = Counter()
    for job in jobs:
        source, kept = job.folder(runs), job.folder(out)
        if kept.is_done():
            collected["known"] += 1
        elif source.is_done():
            _copy_finished(source, kept)
            collected["finished"] += 1
        elif _rows(source) > _rows(kept):
            _copy_unfinished(source, kept)
            collected["unfinished"] += 1
        elif _rows(kept):
            collected["known"] += 1
    return collected


def _copy_finished(source: RunFolder, kept: RunFolder) -> None:
    record = read_provenance(source.path)
    outputs = record["outputs"]
    small = [
        name
        for name, file in outputs.items()
        if file["bytes"] <= LARGEST_FILE and not name.startswith(_BOARD) and name not in record["left_out"]
    ]
    for name in small:
        complaint = damage(source.path / name, outputs[name])
        if complaint:
            raise UsageError(f"{source.path / name}: {complaint}: `rlpt verify {source.path}` says more")
    with whole_folder(kept.path) as aside:
        for name in small:
            shutil.copyfile(source.path / name, aside / name)
        # As it was written, but for the one new entry: what reading would add or drop is no part of it.
        written = json.loads((source.path / PROVENANCE_FILE).read_bytes())
        sessions = _without_place(written.get("sessions", []), source)
        left_out = sorted({*outputs} - {*small})
        write_json(aside / PROVENANCE_FILE, written | {"sessions": sessions, "left_out": left_out})
    shutil.rmtree(kept.partial, ignore_errors=True)


def _copy_unfinished(source: RunFolder, kept: RunFolder) -> None:
    with whole_folder(kept.partial) as aside:
        found = (path for pattern in _UNFINISHED_PATTERNS for path in source.partial.glob(pattern))
        for path in (path for path in found if not path.is_symlink()):  # a job makes none: it would lead elsewhere
            text = path.read_bytes()
            (aside / path.name).write_bytes(text[: text.rfind(b"\n") + 1])  # a job may be writing the next row just now
        sessions = read_sessions(source.partial / SESSIONS_FILE)
        write_json(aside / SESSIONS_FILE, _without_place(sessions, source))
        shutil.rmtree(kept.partial, ignore_errors=True)


def _without_place(sessions: list[dict[str, Any]], source: RunFolder) -> list[dict[str, Any]]:
    """Returns sessions without this machine's folder of runs in the errors that ended them."""
    place = source.path.parent.parent
    if not place.is_absolute():
        return sessions
    return [{**each, "end": each["end"].replace(f"{place}/", "")} if "end" in each else each for each in sessions]


def _rows(folder: RunFolder) -> int:
    """Returns how many whole episodes or epochs an unfinished run has on record; 0 where there is no such run."""
    tables = [path for name in (EPISODES_FILE, EPOCHS_FILE) if (path := folder.partial / name).is_file()]
    return tables[0].read_bytes().count(b"\n") - 1 if tables else 0
