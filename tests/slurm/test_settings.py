import pytest

from rlpt.errors import UsageError
from rlpt.manifest import load_manifest
from rlpt.pipeline.jobs import plan
from rlpt.slurm.settings import SlurmSettings, with_flags
from tests.conftest import REPOSITORY

DEMO = REPOSITORY / "experiments" / "demo.toml"


def test_flags_override_the_table() -> None:
    table = SlurmSettings(partition="gpu", cpus=8)
    assert with_flags(table, {"cpus": 2, "partition": None}) == SlurmSettings(partition="gpu", cpus=2)


@pytest.mark.parametrize("time", ["1", "90", "12:30", "24:00:00", "2-0", "1-12:30", "7-00:00:00"])
def test_slurms_time_formats_are_accepted(time: str) -> None:
    assert SlurmSettings(time=time).time == time


@pytest.mark.parametrize(
    ("flag", "value"),
    [("time", "24h"), ("mem", "32GB"), ("partition", "a b"), ("gres", "gpu:1\n#SBATCH -w x"), ("time", "9\n")],
)
def test_what_slurm_could_not_read_is_refused_by_flag(flag: str, value: str) -> None:
    with pytest.raises(UsageError, match=f"^--{flag}: expected .*given: "):
        with_flags(SlurmSettings(), {flag: value})
    with pytest.raises(UsageError, match=rf"^--set: slurm\.{flag}: expected .*given: "):
        load_manifest(DEMO, overrides=(f"slurm.{flag}={value!r}",))


def test_the_table_changes_no_job() -> None:
    plain = load_manifest(DEMO)
    other = load_manifest(DEMO, overrides=("slurm.partition=gpu", "slurm.cpus=32", "slurm.runs_per_gpu=4"))
    assert other.slurm == SlurmSettings(partition="gpu", cpus=32, runs_per_gpu=4)
    assert [job.id for job in plan(plain)] == [job.id for job in plan(other)]


def test_a_mistaken_key_of_the_table_is_named() -> None:
    with pytest.raises(UsageError, match=r"--set: slurm\.partion: unknown key; did you mean 'partition'"):
        load_manifest(DEMO, overrides=("slurm.partion=gpu",))
