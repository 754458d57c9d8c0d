"""Profiles: files that rescale all manifests alike, and what a manifest says of itself under one of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlpt.checkout import ROOT
from rlpt.documents import Layer, Table, read_toml
from rlpt.errors import UsageError

_MANIFESTS_ALONE = ("conditions", "title", "profile", "profiles")


def find_profiles(manifest: Path) -> dict[str, Path]:
    """Returns a manifest's profiles by name: in `profiles/` beside it, in the folder above, or else the project's."""
    beside = manifest.absolute().parent
    folders = (ROOT / "experiments", beside.parent, beside)
    return {file.stem: file for folder in folders for file in sorted(folder.glob("profiles/*.toml"))}


def require_profile(name: str, profiles: Mapping[str, Path], place: str) -> None:
    """Raises UsageError, beginning with `place`, if there is no such profile; "paper" needs no file."""
    if name not in profiles and name != "paper":
        raise UsageError(f"{place}: no profile {name!r}; there are: {', '.join(sorted(profiles)) or 'none'}")


def read_profile(path: Path | None) -> Layer:
    """Returns what a profile's file says for all manifests; None: nothing.

    Raises:
        UsageError: if it cannot be read, or says what only a manifest can.
    """
    if path is None:
        return Layer("profile", {})
    table = read_toml(path)
    for key in _MANIFESTS_ALONE:
        if key in table:
            raise UsageError(
                f"{path}: {key}: a profile sets sizes for all manifests; one manifest's own go into its "
                f"[profiles.{path.stem}]"
            )
    return Layer(str(path), table)


def tables_under_profiles(path: Path, tables: Any, profiles: Mapping[str, Path]) -> dict[str, Table]:
    """Returns what the manifest at `path` says of itself under profiles, its `[profiles.NAME]` tables.

    Raises:
        UsageError: if `tables` are something else, or there is no profile of a name.
    """
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise UsageError(f"{path}: profiles: expected tables [profiles.NAME]")
    for name, table in tables.items():
        require_profile(name, profiles, f"{path}: profiles.{name}")
        for key in {"profile", "profiles"} & table.keys():
            raise UsageError(f"{path}: profiles.{name}: {key}: under one profile there is no other")
    return tables
