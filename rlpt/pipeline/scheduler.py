"""Running a whole manifest on this machine: what is missing, inputs first, several jobs at a time."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, TaskID

from rlpt.errors import BUSY_STATUS
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import Execution, progress_of, threads_of
from rlpt.pipeline.jobs import Job, Stage
from rlpt.progress import progress_display
from rlpt.runs.files import make_folder
from rlpt.runs.interruption import StopRequest, stopping_on_signals
from rlpt.runs.provenance import available_cores

RLPT = (sys.executable, "-P", "-m", "rlpt")
"The command in this environment; -P: nothing is imported from the working folder, which may be called rlpt too."
_POLL_SECONDS = 0.2
# A job that is asked to stop before it listens; as the shell would count too.
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)


@dataclass(frozen=True)
class _Running:
    job: Job
    process: subprocess.Popen[bytes]
    bar: TaskID
    log: Path
    begin: int
    "Byte offset of this process's output in its job's log, which holds that of earlier ones too."

    def lines(self) -> list[str]:
        """Returns the lines that it has said and that are not empty."""
        with self.log.open("rb") as file:
            file.seek(self.begin)
            text = file.read().decode(errors="replace")
        return [line for line in text.split("\n") if line.strip()]


class LocalScheduler:
    """Runs every job in a process of its own, as many at a time as fit the cores."""

    def __init__(self, manifest: Manifest, jobs: Sequence[Job], execution: Execution, parallel: int) -> None:
        """Prepares to run `jobs`.

        Args:
            manifest: what asks for them.
            jobs: in the order of `rlpt.pipeline.jobs.plan`.
            execution: how; `threads` is each job's own number, 0 shares out the cores (`threads_of`).
            parallel: most processes at a time.
        """
        self._manifest, self._execution, self._parallel = manifest, execution, parallel
        self._total = len(jobs)
        self._cores = available_cores()
        self._threads = {job.id: threads_of(job, execution, self._share(job.stage, jobs)) for job in jobs}
        self._waiting = [job for job in jobs if not self._is_done(job)]
        self._running: list[_Running] = []
        self._lost: set[str] = set()
        self._stop = StopRequest(execution.schedule.time_limit)
        self.outcome: Counter[str] = Counter(done=self._total - len(self._waiting))

    def _share(self, stage: Stage, jobs: Sequence[Job]) -> int:
        """Shares the cores among the stage's jobs, whichever of them are done."""
        return max(1, self._cores // min(self._parallel, sum(job.stage == stage for job in jobs)))

    def run(self) -> Counter[str]:
        """Runs until nothing is left or the time limit is over.

        Returns:
            How many jobs were "done" before or by another process, "ran" well, were "paused", "failed", or were
            "skipped" because an input did not come.
        """
        with progress_display(self._execution.quiet) as display:
            overall = display.add_task("all jobs", total=self._total, note="")
            try:
                with stopping_on_signals(self._request_stop):
                    while self._running or (self._waiting and not self._stop.reason):
                        self._start_what_fits(display)
                        time.sleep(_POLL_SECONDS)
                        self._look_after_running(display)
                        display.update(overall, completed=self.outcome.total())
            finally:
                self._stop_running()
        return self.outcome

    def _start_what_fits(self, display: Progress) -> None:
        for job in list(self._waiting):
            if any(needed.id in self._lost for needed in job.inputs):
                self._waiting.remove(job)
                self._lose(job, "skipped", "an input is not there")
            elif self._is_done(job):  # by another process meanwhile
                self._waiting.remove(job)
                self.outcome["done"] += 1
            elif (
                not self._stop.reason
                and self._fits(job)
                and job.folder(self._execution.runs).state() != "running"  # by another process
                and all(self._is_done(needed) for needed in job.inputs)
            ):
                self._waiting.remove(job)
                bar = display.add_task(job.id, total=None, note="")
                self._running.append(self._start(job, bar))
                if self._stop.reason:  # asked to stop just now, before this one was on the list
                    self._running[-1].process.terminate()

    def _request_stop(self, reason: str) -> None:
        """Starts nothing more and lets every running job save its checkpoint."""
        self._stop.make(reason)
        for running in self._running:
            running.process.terminate()

    def _stop_running(self) -> None:
        for running in self._running:
            running.process.terminate()
        for running in self._running:
            running.process.wait()

    def _fits(self, job: Job) -> bool:
        busy = sum(self._threads[running.job.id] for running in self._running)
        fits_cores = not self._running or busy + self._threads[job.id] <= self._cores
        return len(self._running) < self._parallel and fits_cores

    def _start(self, job: Job, bar: TaskID) -> _Running:
        log = self._execution.runs / "logs" / f"{job.id}.log"
        make_folder(log.parent)
        threads = str(self._threads[job.id])
        command = [*stage_command(job, self._manifest, self._execution), *self._limits()]
        with log.open("ab") as file:
            begin = file.tell()
            process = subprocess.Popen(
                [*RLPT, *command, f"--threads={threads}", "--quiet"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": threads},
                process_group=0,  # a Ctrl-C reaches this process alone, which passes it on once
            )
        return _Running(job, process, bar, log, begin)

    def _limits(self) -> list[str]:
        remaining = self._stop.remaining
        return [] if remaining is None else ["--time-limit", f"{remaining:.0f}"]

    def _look_after_running(self, display: Progress) -> None:
        for running in list(self._running):
            if progress := progress_of(running.job, self._execution.runs):
                done, total, note = progress
                display.update(running.bar, completed=done, total=total, note=note)
            if running.process.poll() is None:
                continue
            self._running.remove(running)
            display.remove_task(running.bar)
            if self._is_done(running.job):
                by_another = running.process.returncode == BUSY_STATUS
                self.outcome["done" if by_another else "ran"] += 1
                for line in running.lines():
                    if line.startswith("WARNING: "):
                        print(line, file=sys.stderr)
            elif running.process.returncode == BUSY_STATUS:
                self._waiting.append(running.job)
            elif running.process.returncode == 0 or (self._stop.reason and running.process.returncode in _TERMINATED):
                self._lose(running.job, "paused", "run again to go on")
            else:
                self._lose(running.job, "failed", f"{self._reason(running)} (see {running.log})")

    def _reason(self, running: _Running) -> str:
        status = running.process.returncode
        if status == -signal.SIGKILL:
            return "killed, perhaps for lack of memory: lower --jobs, or a setting of the batch size"
        if status < 0:
            return f"ended by {signal.Signals(-status).name}"
        return (running.lines() or [f"exit status {status}"])[-1].removeprefix("rlpt: ")

    def _lose(self, job: Job, outcome: str, reason: str) -> None:
        self._lost.add(job.id)
        self.outcome[outcome] += 1
        print(f"{outcome}: {job.id}: {reason}", file=sys.stderr)

    def _is_done(self, job: Job) -> bool:
        return job.folder(self._execution.runs).is_done()


def stage_command(job: Job, manifest: Manifest, execution: Execution) -> list[str]:
    """Returns the arguments of `rlpt` that run one job of a manifest; threads and time limit are the scheduler's."""
    return [job.stage, *stage_options(manifest, execution), f"--job={job.id}"]


def stage_options(manifest: Manifest, execution: Execution) -> list[str]:
    """Returns what the commands of a manifest's jobs share."""
    schedule = execution.schedule
    options = [f"--profile={manifest.profile}", *(f"--set={text}" for text in manifest.overrides)]
    options += [f"--runs={execution.runs}", f"--data={execution.data}", f"--device={execution.device}"]
    options += [f"--checkpoint-minutes={schedule.minutes}"]
    options += [f"--checkpoint-steps={schedule.steps}"] if schedule.steps else []
    options += ["--deterministic"] if execution.deterministic else []
    return [str(manifest.path), *options]
