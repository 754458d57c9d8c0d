"""Files that appear whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rlpt.runs.files import remove_leftovers, whole_file, whole_folder, write_safetensors, write_text

_KILLED = """
import os, sys
from pathlib import Path
from rlpt.runs.files import whole_file

with whole_file(Path(sys.argv[1])) as aside:
    aside.with_name(".tmpA1b2").touch()  # as a library does
    os._exit(9)
"""


@pytest.mark.parametrize("name", ["policy.safetensors", "a[b].csv"])
def test_what_a_kill_leaves_is_found_whatever_a_library_calls_its_own_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / name
    assert subprocess.run([sys.executable, "-c", _KILLED, path], check=False).returncode == 9
    remove_leftovers(path.parent, "another-")
    assert len([*path.parent.iterdir()]) == 1
    remove_leftovers(path.parent, f"{path.stem}-")
    assert not any(path.parent.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_text(path, "first")
    with pytest.raises(RuntimeError), whole_file(path) as aside:
        aside.write_text("half")
        assert path.read_text() == "first"
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, disk_events: list[tuple[str, str]]) -> None:
    write_text(tmp_path / "a.txt", "x")
    (_, aside), *_ = disk_events
    assert disk_events == [("sync", aside), ("name", aside), ("sync", str(tmp_path))]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_files_and_folders_are_as_open_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
        write_safetensors(tmp_path / "d.safetensors", {"x": torch.zeros(1)})
        with whole_folder(tmp_path / "b") as aside:
            (aside / "c.txt").write_text("x")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "d.safetensors", "b", "b/c.txt")]
    assert modes == [0o666 & ~umask, 0o666 & ~umask, 0o777 & ~umask, 0o666 & ~umask]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b", "d.safetensors"]
