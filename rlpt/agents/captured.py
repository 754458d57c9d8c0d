"""An update as a CUDA graph: all its kernels are handed to the GPU at once, with no Python between them."""

import gc
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from rlpt.data.batch import Batch, DrawnBatch

Metrics = dict[str, Tensor]
Update = Callable[[Batch, Sequence[Tensor]], Metrics]
"Takes a batch and noise, both on the GPU; must do the same operations at every call, and wait for none of them."

# Calls before the capture; they create what is created once, such as the optimisers' moments.
_WARM_UPS = 3


class GraphPool:
    """A stream and memory for several graphs, no two of which are replayed at the same time."""

    @cached_property
    def stream(self) -> torch.cuda.Stream:
        """One that is not the default, for updates before the capture and the capture itself."""
        return torch.cuda.Stream()

    @cached_property
    def memory(self) -> Any:
        """Names the memory. A graph hands nothing in it to another: what lasts, such as weights, lies outside."""
        return torch.cuda.graph_pool_handle()


class CapturedUpdate:
    """Calls an update a few times, then captures it, and from then on replays what was captured."""

    def __init__(self, update: Update, pool: GraphPool) -> None:
        """Captures `update` when it has been called often enough."""
        self._update, self._pool = update, pool
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: DrawnBatch | None = None
        self._noises: list[Tensor] = []
        self._metrics: Metrics = {}
        self._replayed: torch.cuda.Event | None = None

    def __call__(self, batch: DrawnBatch, noises: Sequence[Tensor]) -> Metrics:
        """Cuts a batch and updates with it.

        Args:
            batch: what was drawn, on the GPU.
            noises: float32 [batch, actions] each, as many as the update needs.

        Returns:
            The update's metrics, which the next call writes over.
        """
        self._calls += 1
        if self._calls <= _WARM_UPS:
            return self._beside_the_main_stream(batch, noises)
        if self._batch is None or self._batch.frames is not batch.frames:  # they move when there is no room for more
            self._capture(batch, noises)
        assert self._graph is not None and self._batch is not None
        self._batch.take(batch)
        torch._foreach_copy_(self._noises, list(noises))
        self._graph.replay()
        before, self._replayed = self._replayed, torch.cuda.current_stream().record_event()
        if before:  # one update waits while another runs, not hundreds: a request to stop would have to wait for all
            before.synchronize()
        return self._metrics

    def _beside_the_main_stream(self, batch: DrawnBatch, noises: Sequence[Tensor]) -> Metrics:
        """Updates on the stream that capturing will use."""
        stream, main = self._pool.stream, torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream), warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*capturable=True")  # Adam's, which does not see what is to come
            metrics = self._update(batch.cut(), noises)
        main.wait_stream(stream)
        return metrics

    def _capture(self, batch: DrawnBatch, noises: Sequence[Tensor]) -> None:
        """Records the update, without executing it, on inputs of its own."""
        own, noises = batch.with_own_draws(), [noise.clone() for noise in noises]
        gc.collect()  # a graph of an agent that is no more would spoil the capture if it were destroyed amid it
        # An earlier graph lives until this one is in the pool, which no longer exists when its last graph is gone.
        graph = torch.cuda.CUDAGraph()
        # The environment's thread may use the GPU meanwhile, to render.
        with torch.cuda.graph(graph, self._pool.memory, self._pool.stream, capture_error_mode="thread_local"):
            metrics = self._update(own.cut(), noises)
        self._graph, self._batch, self._noises, self._metrics = graph, own, noises, metrics
