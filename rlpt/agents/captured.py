"""An update as a CUDA graph: all its kernels are handed to the GPU at once, with no Python between them."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rlpt.agents.sac import Batch

Metrics = dict[str, Tensor]
Update = Callable[["Batch", Sequence[Tensor]], Metrics]
"Takes a batch and noise, both on the GPU; must do the same operations at every call, and wait for none of them."

# Calls before the capture; they create what is created once, such as the optimisers' moments.
_WARM_UPS = 3


class CapturedUpdate:
    """Calls an update a few times, then captures it, and from then on replays what was captured."""

    def __init__(self, update: Update) -> None:
        """Captures `update` when it has been called often enough."""
        self._update = update
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._metrics: Metrics = {}

    def __call__(self, batch: "Batch", noises: Sequence[Tensor]) -> Metrics:
        """Returns the update's metrics, which the next call writes over."""
        self._calls += 1
        if self._calls <= _WARM_UPS:
            return self._beside_the_main_stream(batch, noises)
        if self._graph is None:
            self._capture(batch, noises)
        assert self._graph is not None
        for own, given in zip(self._inputs, _tensors(batch, noises), strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._metrics

    def _beside_the_main_stream(self, batch: "Batch", noises: Sequence[Tensor]) -> Metrics:
        """Updates on a stream other than the default one, as capturing will."""
        stream, main = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(main)
        with torch.cuda.stream(stream):
            metrics = self._update(batch, noises)
        main.wait_stream(stream)
        return metrics

    def _capture(self, batch: "Batch", noises: Sequence[Tensor]) -> None:
        """Records the update, without executing it, on inputs of its own."""
        self._inputs = [tensor.clone() for tensor in _tensors(batch, noises)]
        count = len(fields(batch))
        own_batch, own_noises = type(batch)(*self._inputs[:count]), self._inputs[count:]
        self._graph = torch.cuda.CUDAGraph()
        # The environment's thread may use the GPU meanwhile, to render.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._metrics = self._update(own_batch, own_noises)


def _tensors(batch: "Batch", noises: Sequence[Tensor]) -> list[Tensor]:
    return [*(getattr(batch, field.name) for field in fields(batch)), *noises]
