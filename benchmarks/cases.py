"""All pairs that `rlpt bench` measures, by name, in the table's order."""

from benchmarks.data_cases import chroma_key, dataset_bytes, env_step, render, replay_bytes, replay_sample
from benchmarks.measurement import CaseBuilder
from benchmarks.network_cases import ik_step, imagenet_step, sac_update_ik, sac_update_imagenet, sac_update_lite
from benchmarks.process_cases import generate_2_workers, startup, train_loop

BUILDERS: dict[str, CaseBuilder] = {
    "sac_update_ik": sac_update_ik,
    "sac_update_imagenet": sac_update_imagenet,
    "sac_update_lite": sac_update_lite,
    "ik_step": ik_step,
    "imagenet_step": imagenet_step,
    "render": render,
    "env_step": env_step,
    "chroma_key": chroma_key,
    "replay_sample": replay_sample,
    "replay_bytes": replay_bytes,
    "dataset_bytes_walker": dataset_bytes,
    "generate_2_workers": generate_2_workers,
    "train_loop": train_loop,
    "startup": startup,
}
