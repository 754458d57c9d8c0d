"""Tables for people."""

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from rlpt.number_text import counted
from rlpt.pipeline.estimates import disk_bytes, gpu_hours, replay_bytes, steps
from rlpt.pipeline.execution import progress_of
from rlpt.pipeline.jobs import Job
from rlpt.runs.checksums import PROVENANCE_FILE, read_provenance
from rlpt.runs.folder import SESSIONS_FILE, SETTINGS_FILE
from rlpt.runs.provenance import read_sessions, version_text
from rlpt.settings import EncoderSettings
from rlpt.slurm.queue import QueuedTask

_STYLES = {"done": "green", "running": "cyan", "paused": "yellow", "failed": "red", "missing": "dim"}
_WIDTH = 240
_UNITS = {"generate": "transitions", "pretrain": "updates", "train": "agent steps"}


def _console() -> Console:
    """Returns a console as wide as the terminal; elsewhere so wide that no id is broken."""
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_WIDTH)


def _print(console: Console, table: Table, *spare: str) -> None:
    """Prints a table, without as many of its `spare` columns as do not fit: ids stay whole, to be copied."""

    def width() -> int:
        return console.measure(table, options=console.options.update(max_width=10_000)).maximum

    for header in spare:
        if width() > console.width:
            table.columns = [column for column in table.columns if column.header != header]
    # The terminal may break a line, but not the table an id.
    console.width = max(console.width, width())
    console.print(table)


def plan_table(plans: dict[Path, list[Job]], conditions: Mapping[str, list[str]]) -> None:
    """Prints a manifest's jobs and their sums, or of several how many jobs they have and share.

    Args:
        plans: each manifest's jobs, in the order to print.
        conditions: those each job serves, by id.
    """
    console = _console()
    distinct = {job.id: job for jobs in plans.values() for job in jobs}
    if len(plans) == 1:
        table = Table("stage", box=None, header_style="bold")
        table.add_column("job", overflow="fold")
        table.add_column("needs", overflow="fold")
        table.add_column("steps", justify="right")
        table.add_column("disk", justify="right")
        table.add_column("for")
        for job in distinct.values():
            whom, needs = ", ".join(conditions[job.id]), ", ".join(needed.id for needed in job.inputs) or "–"
            table.add_row(job.stage, job.id, needs, f"{steps(job):,}", _size(disk_bytes(job)), whom)
        _print(console, table, "for", "needs")
    else:
        table = Table("manifest", box=None, header_style="bold")
        for stage in _UNITS:
            table.add_column(stage, justify="right")
        for path, jobs in plans.items():
            table.add_row(path.name, *(str(sum(job.stage == stage for job in jobs)) for stage in _UNITS))
        console.print(table)
        for stage in _UNITS:
            asked = sum(job.stage == stage for jobs in plans.values() for job in jobs)
            own = sum(job.stage == stage for job in distinct.values())
            console.print(f"{stage:<9} {asked:>4} asked for, {own:>4} distinct, {asked - own:>3} shared")
    _print_sums(console, list(distinct.values()))


def _print_sums(console: Console, jobs: list[Job]) -> None:
    for stage, unit in _UNITS.items():
        own = [job for job in jobs if job.stage == stage]
        if own:
            total, hours = sum(map(steps, own)), sum(map(gpu_hours, own))
            known = hours >= 1 and all(job.settings.encoder.crop == EncoderSettings().crop for job in own)
            cost = f", {hours:,.0f} GPU hours at the authors' speed" if known else ""  # which is of their images' size
            console.print(f"{len(own):>4} {stage:<9} {total:>12,} {unit}{cost}")
    console.print(f"     disk      {_size(sum(map(disk_bytes, jobs))):>12}")
    replay = max(map(replay_bytes, jobs), default=0)
    if replay:
        console.print(f"     and, while it runs, for each training job's replay {_size(replay)}")


def status_table(
    jobs: list[Job], conditions: Mapping[str, list[str]], runs: Path, queued: Mapping[str, QueuedTask]
) -> None:
    """Prints each job's state, and its place in Slurm's queue; for running ones how far they are, for failed ones why.

    Args:
        jobs: in the order to print.
        conditions: those each job serves, by id.
        runs: where their folders are.
        queued: tasks in the queue, by their jobs' ids.
    """
    table = Table("state", *(["queue"] if queued else []), "stage", box=None, header_style="bold")
    table.add_column("job", overflow="fold")
    table.add_column("")
    table.add_column("for")
    count: Counter[str] = Counter()
    waiting = 0
    for job in jobs:
        folder = job.folder(runs)
        state = folder.state()
        count[state] += 1
        waiting += job.id in queued and state != "done"
        note = escape(folder.error()) if state == "failed" else ""
        if state in ("running", "paused") and (progress := progress_of(job, runs)):
            note = "{:,} of {:,}  {}".format(*progress)
        task = queued.get(job.id)
        place = [escape(f"{task.id} {task.state.lower()} ({task.reason})") if task else ""] if queued else []
        table.add_row(f"[{_STYLES[state]}]{state}[/]", *place, job.stage, job.id, note, ", ".join(conditions[job.id]))
    console = _console()
    _print(console, table, "for")
    sums = [
        *(f"{number} {state}" for state, number in count.items()),
        *([f"{waiting} in the queue"] if waiting else []),
    ]
    console.print(", ".join(sums))


def _size(count: int) -> str:
    """Returns "1.4 MB" or the like."""
    unit, factor = next((each for each in (("GB", 1e9), ("MB", 1e6)) if count >= each[1]), ("kB", 1e3))
    return f"{count / factor:,.1f} {unit}"


def run_tables(folder: Path) -> None:
    """Prints what is recorded of a run, finished or not, in `folder`."""
    console = _console()
    finished = (folder / PROVENANCE_FILE).is_file()
    record: dict[str, Any] = (
        read_provenance(folder) if finished else {"sessions": read_sessions(folder / SESSIONS_FILE)}
    )
    facts = Table(show_header=False, box=None)
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("run", f"{folder.name}{'' if finished else ' (not finished)'}")
    manifest = record.get("manifest")
    if manifest:
        overrides = "".join(f", --set {text}" for text in manifest["set"])
        origin = f"{manifest['file']} ({manifest['sha256'][:12]}…), profile {manifest['profile']}{overrides}"
        facts.add_row("manifest", escape(origin))
    if record.get("code"):
        facts.add_row("code", version_text(record["code"]))
    for key in ("packages", "locks", "container"):
        if record.get(key):
            facts.add_row(key, escape(", ".join(f"{name} {_shortened(value)}" for name, value in record[key].items())))
    for number, session in enumerate(record["sessions"], 1):
        facts.add_row(f"session {number}", escape(_describe_session(session)))
    console.print(facts)
    files = [(f"input {needed['id']}/{needed['file']}", "", needed["sha256"]) for needed in record.get("inputs", [])]
    files += [(name, f"{file['bytes']:,}", file["sha256"]) for name, file in record.get("outputs", {}).items()]
    if files:
        table = Table("file", box=None, header_style="bold")
        table.add_column("bytes", justify="right")
        table.add_column("SHA-256")
        for name, size, digest in files:
            table.add_row(name, size, f"{digest[:12]}…")
        console.print(table)
    console.print("[bold]settings[/]")
    console.print((folder / SETTINGS_FILE).read_text(encoding="utf-8").rstrip(), markup=False)


def _shortened(value: object) -> str:
    """Returns a version as it is, and a SHA-256 as its beginning."""
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _describe_session(session: dict[str, Any]) -> str:
    machine = session["machine"]
    seconds = session.get("seconds")  # a killed one's are not known
    lasted = "running, or killed" if seconds is None else f"{seconds:,} s, ended: {session['end']}"
    gpu = f", {machine['gpu']}" if machine["gpu"] else ""
    driver = f", NVIDIA driver {machine['driver']}" if machine["driver"] else ""
    renderer = f", rendered by {session['renderer']}" if session["renderer"] else ""
    return (
        f"{session['started']}, {lasted}; {machine['host']}: {machine['processor']}, {machine['cores']} cores"
        f"{gpu}{driver}{renderer}; {counted(session['threads'], 'thread')}, load {session['load']}; "
        f"commit {(session['commit'] or '–')[:9]}"
    )
