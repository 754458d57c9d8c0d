"""Profiles: files that rescale all manifests alike, what a manifest says of itself under one, what goes before what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlpt.checkout import ROOT
from rlpt.documents import Layer, Table, read_toml
from rlpt.errors import UsageError
from rlpt.settings import Settings

_MANIFESTS_ALONE = ("conditions", "title", "profile", "profiles")


@dataclass(frozen=True)
class Layers:
    """What decides the settings of a manifest's runs."""

    manifest: Layer
    profile: Layer
    under_profile: Layer
    "What the manifest says of itself under the profile."
    overrides: tuple[Layer, ...]
    "What each `--set` says."

    def all(self) -> list[Layer]:
        """Returns them, the last word last, but for what is said of single conditions (`of_condition`)."""
        return [self.manifest, self.profile, self.under_profile, *self.overrides]

    def of_condition(self, name: str) -> list[Layer]:
        """Returns what decides a condition's settings, the last word last."""

        def own(layer: Layer) -> Layer:
            return Layer(f"{layer.origin}: conditions.{name}", layer.table.get("conditions", {}).get(name, {}))

        under = self.under_profile
        overrides = [*self.overrides, *map(own, self.overrides)]
        return [self.manifest, self.profile, own(self.manifest), under, own(under), *overrides]

    def is_overridden(self, section: str, key: str) -> bool:
        """Says whether `--set` gives a key for all conditions."""
        return any(key in layer.table.get(section, {}) for layer in self.overrides)


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


def overruled(layers: Layers) -> Iterator[str]:
    """Yields what the manifest says to no effect: the profile says otherwise, and nothing goes before that."""
    manifest, profile = layers.manifest, layers.profile
    later = (layers.under_profile, *layers.overrides)
    for section in Settings.model_fields:
        for key, own in manifest.table.get(section, {}).items():
            value = profile.table.get(section, {}).get(key, own)
            said = [layer.table.get(section, {}) for layer in later]
            each = [condition.get(section, {}) for condition in manifest.table.get("conditions", {}).values()]
            if value != own and not any(key in table for table in said) and not all(key in table for table in each):
                yield f"{section}.{key} = {own} yields to {Path(profile.origin).stem}'s {value}"


def require_tables(layers: Layers) -> None:
    """Raises UsageError if a section or condition is no table, which one of a later layer would hide."""
    for layer in layers.all():
        for key, given in _expected_tables(layer.table):
            if not isinstance(given, dict):
                raise UsageError(
                    f"{layer.origin}: {key}: expected a table, such as {{ key = 1 }} (given: {given!r:.80})"
                )


def _expected_tables(table: Table) -> Iterator[tuple[str, Any]]:
    """Yields what has to be a table, after that which it is in."""
    for key in (*Settings.model_fields, "conditions"):
        yield key, table.get(key, {})
    for name, condition in table.get("conditions", {}).items():
        yield f"conditions.{name}", condition
        for key in Settings.model_fields:
            yield f"conditions.{name}.{key}", condition.get(key, {})
