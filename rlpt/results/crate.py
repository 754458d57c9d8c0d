"""Finished runs as a Workflow Run RO-Crate: a folder that archives and other people's tools understand.

The profile (w3id.org/ro/wfrun/workflow/0.5) wants a workflow, here the manifest, and the action that ran it; each job
is an action of its own, with what it read and what it wrote.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rocrate.model.computerlanguage import ComputerLanguage
from rocrate.model.contextentity import ContextEntity
from rocrate.model.softwareapplication import SoftwareApplication
from rocrate.rocrate import ROCrate

import rlpt
from rlpt.errors import UsageError
from rlpt.manifest import Manifest
from rlpt.pipeline.execution import OUTPUT_FILES
from rlpt.pipeline.jobs import Job
from rlpt.runs.checksums import PROVENANCE_FILE, damage, read_provenance
from rlpt.runs.files import whole_folder

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
_TERMS = "https://w3id.org/ro/terms/workflow-run/context"
_LICENSE = "https://spdx.org/licenses/MIT"
_MEDIA_TYPES = {
    ".csv": "text/csv",
    ".h5": "application/x-hdf5",
    ".json": "application/json",
    ".mp4": "video/mp4",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
}


def export_crate(manifest: Manifest, jobs: Sequence[Job], figures: Sequence[Path], runs: Path, out: Path) -> int:
    """Writes the finished ones of `jobs` and `figures` to a new folder.

    Args:
        manifest: what asked for the jobs.
        jobs: in the order of `rlpt.pipeline.jobs.plan`.
        figures: files drawn from them.
        runs: where they ran.
        out: the crate; must not exist.

    Returns:
        How many jobs are in it.

    Raises:
        UsageError: if nothing is finished, a file is not what its job wrote, or `out` exists.
    """
    finished = [job for job in jobs if job.folder(runs).is_done()]
    if not finished:
        raise UsageError(
            f"{manifest.path}: nothing of it is finished in {runs}: `rlpt run` it first, or name its --runs"
        )
    if out.exists():
        raise UsageError(f"{out}: exists already: give another --out")
    crate = _Crate(manifest, runs)
    for job in finished:
        crate.add_job(job)
    crate.finish(figures)
    with whole_folder(out) as aside:
        crate.contents.write(aside)
    return len(finished)


class _Crate:
    """The crate while it is put together."""

    def __init__(self, manifest: Manifest, runs: Path) -> None:
        self._manifest, self._runs = manifest, runs
        self.contents = ROCrate(gen_preview=False, version="1.1")
        self.contents.name = f"{manifest.title} (profile {manifest.profile})"
        self.contents.description = (
            f"Runs of the manifest {manifest.path.name} under the profile {manifest.profile!r}: "
            "data generation, pretraining and reinforcement learning, with settings and provenance."
        )
        self.contents.license = self._entity(_LICENSE, "CreativeWork", name="MIT License")
        self.contents.metadata.extra_contexts.append(_TERMS)
        profiles = [
            self._entity(url, "CreativeWork", name=name, version=version) for url, (name, version) in _PROFILES.items()
        ]
        self.contents.root_dataset["conformsTo"] = profiles
        self._software = self.contents.add(
            SoftwareApplication(
                self.contents,
                f"#rlpt-{rlpt.__version__}",
                {"name": "rlpt", "softwareVersion": rlpt.__version__, "description": rlpt.__doc__},
            )
        )
        language = ComputerLanguage(
            self.contents, "https://toml.io/", {"name": "TOML", "url": {"@id": "https://toml.io/"}}
        )
        self.contents.add(language)
        self._workflow = self.contents.add_workflow(
            manifest.path,
            manifest.path.name,
            main=True,
            lang=language,
            properties={
                "name": manifest.title,
                "version": manifest.describe()["sha256"][:12],
                "encodingFormat": _MEDIA_TYPES[".toml"],
            },
        )
        if manifest.profile_path:  # where the manifest looks for it
            self._add_file(manifest.profile_path, f"profiles/{manifest.profile_path.name}")
        self._files: dict[tuple[str, str], Any] = {}
        self._sessions: list[dict[str, Any]] = []
        self._actions: list[Any] = []

    def add_job(self, job: Job) -> None:
        """Adds a finished job's files, but for those that a collection left out, and the action that made them."""
        folder = job.folder(self._runs).path
        record = read_provenance(folder)
        sessions = record["sessions"]
        results = []
        for name, recorded in record["outputs"].items():
            if name in record["left_out"]:
                if name == OUTPUT_FILES.get(job.stage):
                    results.append(self._add_absent(job, name, recorded["sha256"]))
                continue
            complaint = damage(folder / name, recorded)
            if complaint:
                raise UsageError(f"{folder / name}: {complaint}: `rlpt verify {folder}` says more")
            results.append(self._add_file(folder / name, f"{job.stage}/{job.id}/{name}", recorded["sha256"]))
            self._files[job.id, name] = results[-1]
        self._add_file(folder / PROVENANCE_FILE, f"{job.stage}/{job.id}/{PROVENANCE_FILE}")
        keys = [(needed["id"], needed["file"]) for needed in record.get("inputs", [])]
        read = [self._files[key] for key in keys if key in self._files]
        code = record["code"]
        action = self._entity(
            f"#{job.id}",
            "CreateAction",
            name=f"{job.stage} {job.id}",
            description=f"rlpt {code['rlpt']}, commit {code.get('commit')}{', changed' if code.get('dirty') else ''}",
            startTime=sessions[0]["started"],
            endTime=sessions[-1]["ended"],  # the last one always has an end, an earlier one may have been killed
            actionStatus="http://schema.org/CompletedActionStatus",
        )
        action["instrument"] = self._software
        action["object"] = read or self._workflow
        action["result"] = results
        self._actions.append(action)
        self._sessions += sessions

    def finish(self, figures: Sequence[Path]) -> None:
        """Adds the figures, and the action that stands for the whole."""
        drawn = [self._add_file(path, f"figures/{path.name}") for path in figures]
        whole = self._entity(
            "#run",
            "CreateAction",
            name=f"Run of {self._workflow['name']}",
            description=f"`{self._command()}`, or a selection of it: what was missing, one job at a time or several",
            startTime=min(session["started"] for session in self._sessions),
            endTime=max(session["ended"] for session in self._sessions if session["ended"]),
            actionStatus="http://schema.org/CompletedActionStatus",
        )
        whole["instrument"] = self._workflow
        whole["object"] = self._workflow
        whole["result"] = [entity for action in self._actions for entity in action["result"]] + drawn
        self.contents.root_dataset["mentions"] = [whole, *self._actions]

    def _command(self) -> str:
        overrides = "".join(f" --set {each}" for each in self._manifest.overrides)
        return f"rlpt run {self._workflow.id} --profile {self._manifest.profile}{overrides}"

    def _add_absent(self, job: Job, name: str, sha256: str) -> Any:
        """Adds what other jobs read and a collection left out, by its name and checksum."""
        about = "left out of this crate for its size"
        entity = self._entity(
            f"#{job.stage}/{job.id}/{name}", "CreativeWork", name=name, sha256=sha256, description=about
        )
        self._files[job.id, name] = entity
        return entity

    def _add_file(self, path: Path, place: str, sha256: str | None = None) -> Any:
        properties: dict[str, Any] = {
            "name": path.name,
            "contentSize": path.stat().st_size,
            "encodingFormat": _MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        }
        if sha256:
            properties["sha256"] = sha256
        return self.contents.add_file(path, place, properties=properties)

    def _entity(self, identity: str, kind: str, **properties: Any) -> Any:
        return self.contents.add(ContextEntity(self.contents, identity, {"@type": kind, **properties}))
