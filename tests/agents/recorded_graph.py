"""A CUDA graph's behaviour on a CPU, so that what is captured and replayed can be tested without a GPU."""

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, ClassVar, Self
from weakref import WeakSet

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_READ_BY_THE_HOST = {torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default}


class RecordedGraph(TorchDispatchMode):
    """Notes every operation in its block, which leaves no trace otherwise; `replay` repeats them on the same memory.

    As in a CUDA graph, what Python decided while recording is decided for good, and no value can be read.
    """

    def __init__(self) -> None:
        """Has no operations yet."""
        super().__init__()
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Executes and notes an operation."""
        kwargs = kwargs or {}
        if operation in _READ_BY_THE_HOST:
            raise RuntimeError(f"{operation}: the host waits for a value")
        for number, argument in enumerate(operation._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                changed = args[number] if number < len(args) else kwargs.get(argument.name)
                self._before += [(tensor, tensor.clone()) for tensor in tree_leaves(changed) if tensor is not None]
        result = operation(*args, **kwargs)
        self.operations.append((operation, args, kwargs, result))
        return result

    def __exit__(self, *exception: Any) -> None:
        """Puts everything back as it was before the block."""
        super().__exit__(*exception)
        with torch.no_grad():
            for tensor, before in reversed(self._before):
                tensor.copy_(before)
        self._before = []

    @torch.no_grad()
    def replay(self) -> None:
        """Repeats the operations; results appear where the recorded ones are."""
        for operation, args, kwargs, recorded in self.operations:
            results = operation(*args, **kwargs)
            for own, new in zip(tree_leaves(recorded), tree_leaves(results), strict=True):
                if isinstance(own, Tensor) and own.data_ptr() != new.data_ptr():
                    own.copy_(new)


class Event:
    """Stands behind what the host has handed over, until the host has waited for it.

    A CPU does one thing after the other, so that there is nothing to wait for.
    """

    pending: ClassVar[list["Event"]] = []
    pending_at_waits: ClassVar[list[int]] = []

    def synchronize(self) -> None:
        """Is what the host has waited for, with all that was handed over before."""
        self.pending_at_waits.append(len(self.pending))
        del self.pending[: self.pending.index(self) + 1]


class _Stream:
    def wait_stream(self, other: Self) -> None:
        """Does nothing: a CPU does one thing after the other."""

    def record_event(self) -> Event:
        """Notes that the host has not waited yet."""
        Event.pending.append(Event())
        return Event.pending[-1]


class _Pool:
    """Memory that graphs share: as in CUDA, it is gone when the last graph in it is."""

    def __init__(self) -> None:
        self._graphs: WeakSet[RecordedGraph] = WeakSet()
        self._used = False

    def capturing(self, graph: RecordedGraph, *_: Any, **__: Any) -> RecordedGraph:
        if self._used and not self._graphs:
            raise RuntimeError("the pool's last graph is gone, and the pool with it")
        self._used = True
        self._graphs.add(graph)
        return graph


def record_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts recorded graphs in the place of CUDA's."""
    Event.pending.clear()
    Event.pending_at_waits.clear()
    replaced = SimpleNamespace(
        CUDAGraph=RecordedGraph,
        graph=_Pool().capturing,
        graph_pool_handle=lambda: (0, 0),
        Stream=_Stream,
        current_stream=_Stream,
        stream=lambda _: nullcontext(),
    )
    for name, substitute in vars(replaced).items():
        monkeypatch.setattr(torch.cuda, name, substitute)
