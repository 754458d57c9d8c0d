"""What a collection of runs says for itself: its README.md, computed from its files alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.jobs import Curve, Job, Stage, curves, deciding_settings, plan
from rlpt.report.claims import METRICS, judged_manifests
from rlpt.report.sections import differences_from_paper, settings_text
from rlpt.report.summaries import SUMMARISED, condition_summaries
from rlpt.report.templating import render_page
from rlpt.results.records import grouped, load_runs
from rlpt.results.run_files import EPOCHS_FILE, episodes_folder, read_returns
from rlpt.runs.checksums import read_provenance
from rlpt.runs.folder import SESSIONS_FILE
from rlpt.runs.provenance import read_sessions

PAGE = "README.md"


@dataclass(frozen=True)
class Unfinished:
    """A run that stopped early."""

    name: str
    done: int
    "Agent steps up to the end of its last whole episode, or whole epochs."
    of: int


@dataclass(frozen=True)
class Work:
    """What a stage took."""

    stage: Stage
    finished: int
    unfinished: int
    hours: float
    "Of computing, over all sessions that ended."


def collection_page(manifest: Manifest, out: Path) -> str:
    """Returns what was run, on what, in how many hours, what came out, and what did not, as Markdown.

    Args:
        manifest: what asked for the runs.
        out: the collection, its figures drawn.
    """
    planned, jobs = curves(manifest), plan(manifest)
    environments = list(dict.fromkeys(curve.environment for curve in planned if episodes_folder(curve.job, out)))
    here = [curve for curve in planned if curve.environment in environments]
    data = load_runs([manifest], [out], manifest.title)
    sessions = {job.id: _sessions(job, out) for job in jobs}
    known = [session for own in sessions.values() for session in own]
    context = {
        "mark": _mark(manifest),
        "manifest": manifest,
        "place": _from_here(out),
        "to_report": "" if _is_judged(manifest) else f"{_from_here(manifest.path)} ",
        "command": f"{_from_here(manifest.path)} --profile {manifest.profile}"
        + "".join(f" --set {override}" for override in manifest.overrides),
        "curves": _figure(out, f"{manifest.name}-{manifest.profile}.png") if environments else None,
        "encoder_curves": _figure(out, f"{manifest.name}-encoders-{manifest.profile}.png"),
        "environments": environments,
        "elsewhere": [name for name in manifest.environments if name not in environments],
        "prepared": _prepared(planned, sessions),
        "generates": any(job.stage == "generate" for job in jobs),
        "planned": len(here),
        "finished": data.distinct,
        "unfinished": [each for curve in here if (each := _unfinished(curve, out))],
        "unfinished_encoders": [each for job in jobs if (each := _unfinished_encoder(job, out))],
        "missing": [curve.job.slug for curve in here if not episodes_folder(curve.job, out)],
        "settings": _settings(planned),
        "metrics": {metric: METRICS[metric] for metric in SUMMARISED},
        "outcomes": condition_summaries(list(data.runs)),
        "pretrained": any(run.pretrained for run in data.runs),
        "confounded": any(
            run.pretrained and run.job and run.job.settings.agent.head_init == "published" for run in data.runs
        ),
        "encoders": data.encoders,
        "work": _work(jobs, sessions, out),
        "machines": sorted({_machine(session) for session in known}),
        "commits": sorted({str(session.get("commit"))[:9] for session in known}),
        "days": sorted({str(session.get("started", "unknown"))[:10] for session in known}),
    }
    return render_page("collection.md.j2", context)


def require_own_page(manifest: Manifest, runs: Path, out: Path) -> None:
    """Raises UsageError if a collection in `out` would replace a page that is not its own."""
    if out.resolve() == runs.resolve():
        raise UsageError(f"{out}: the runs themselves: a collection needs another --out")
    page = out / PAGE
    if page.is_file() and not page.read_text(encoding="utf-8", errors="replace").startswith(_mark(manifest)):
        raise UsageError(
            f"{page}: is there already, and is not the page of {manifest.path.name} with this profile and --set: "
            "choose another --out"
        )


def _mark(manifest: Manifest) -> str:
    """Returns the page's first line, by which a later `rlpt collect` knows its own."""
    overrides = "".join(f", --set {each}" for each in manifest.overrides)
    return (
        f"<!-- Made by rlpt collect of {manifest.path.name}, profile {manifest.profile}{overrides}: edits are lost. -->"
    )


def _is_judged(manifest: Manifest) -> bool:
    return manifest.path.resolve() in [path.resolve() for path in judged_manifests()]


def _from_here(path: Path) -> str:
    """Returns a path as one would type it in the working folder, if it lies there: pages are read on other machines."""
    here = Path.cwd()
    return (path.resolve().relative_to(here) if path.resolve().is_relative_to(here) else path).as_posix()


def _figure(out: Path, name: str) -> str | None:
    """Returns a figure's address within the collection, if it has been drawn."""
    return f"figures/{quote(name)}" if (out / "figures" / name).is_file() else None


def _unfinished(curve: Curve, out: Path) -> Unfinished | None:
    folder = episodes_folder(curve.job, out)
    if not folder or curve.job.folder(out).is_done():
        return None
    returns = read_returns(curve, folder, 1)
    steps = 0 if returns.empty else int(returns["step"].max())
    return Unfinished(curve.job.slug, steps, curve.job.settings.train.steps)


def _unfinished_encoder(job: Job, out: Path) -> Unfinished | None:
    path = job.folder(out).partial / EPOCHS_FILE
    if job.method is None or not path.is_file() or job.folder(out).is_done():
        return None
    return Unfinished(job.slug, len(pd.read_csv(path)), getattr(job.settings, job.method).epochs)


def _prepared(planned: list[Curve], sessions: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Returns the tasks that something has been generated or pretrained for."""
    return list(
        dict.fromkeys(
            curve.environment
            for curve in planned
            if any(sessions[job.id] for encoder in curve.job.inputs for job in (encoder, *encoder.inputs))
        )
    )


def _settings(planned: list[Curve]) -> dict[str, str]:
    """Returns what differs from the paper's settings: what those that use it share, then what each has beside it."""
    jobs = {label: own[0].job for label, own in grouped(planned, lambda curve: curve.label).items()}
    used = {label: deciding_settings(job) for label, job in jobs.items()}
    changed = {label: differences_from_paper(job) for label, job in jobs.items()}
    shared = {
        key: value
        for each in changed.values()
        for key, value in each.items()
        if all(other.get(key) == value for label, other in changed.items() if key in used[label])
    }
    rows = {"all conditions that use them": settings_text(shared)}
    for label, own in changed.items():
        if beside := {key: value for key, value in own.items() if key not in shared}:
            rows[label] = settings_text(beside)
    return rows


def _sessions(job: Job, out: Path) -> list[dict[str, Any]]:
    folder = job.folder(out)
    if folder.is_done():
        return list(read_provenance(folder.path)["sessions"])
    return read_sessions(folder.partial / SESSIONS_FILE)


def _work(jobs: list[Job], sessions: dict[str, list[dict[str, Any]]], out: Path) -> list[Work]:
    rows = []
    for stage, begun in grouped((job for job in jobs if sessions[job.id]), lambda job: job.stage).items():
        finished = sum(job.folder(out).is_done() for job in begun)
        seconds = sum(session.get("seconds") or 0 for job in begun for session in sessions[job.id])
        rows.append(Work(stage, finished, len(begun) - finished, seconds / 3600))
    return rows


def _machine(session: dict[str, Any]) -> str:
    """Names what a session computed and rendered on, and the versions that its numbers depend on most."""
    machine, packages = session.get("machine", {}), session.get("packages", {})
    device = (
        machine.get("gpu") or f"{machine.get('processor', 'unknown')}, threads a job: {session.get('threads', '?')}"
    )
    versions = ", ".join(f"{name} {packages.get(name, '?')}" for name in ("torch", "mujoco", "dm-control"))
    renderer = f"; rendering: {session['renderer']}" if session.get("renderer") else ""
    return f"{device}{renderer}; {versions}"
