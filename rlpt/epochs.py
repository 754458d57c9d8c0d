"""What both kinds of pretraining share: epochs over shuffled rows, that can be interrupted, to an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from rlpt.errors import require_finite
from rlpt.models.encoder import EncoderNetwork, save_encoder
from rlpt.progress import Report
from rlpt.runs.checkpoint import (
    State,
    global_random_state,
    optimiser_state,
    set_global_random_state,
    set_network_state,
    set_optimiser_state,
)
from rlpt.runs.files import write_json
from rlpt.runs.interruption import Checkpoints
from rlpt.runs.metrics import MetricsWriter
from rlpt.settings import Precision
from rlpt.streams import generator_state, set_generator_state, stream

Network = TypeVar("Network", bound=EncoderNetwork)


class EpochTraining(ABC, Generic[Network]):
    """One pretraining run, which can stop between any two updates and go on exactly where it was.

    Writes `epochs.csv`, `encoder.safetensors` and `summary.json` into its folder.
    """

    columns: ClassVar[tuple[str, ...]]
    "Of epochs.csv, after the epoch."

    def __init__(
        self,
        network: Network,
        optimiser: torch.optim.Optimizer,
        rows: np.ndarray,
        epochs: int,
        seed: int,
        precision: Precision,
        folder: Path,
        device: torch.device,
    ) -> None:
        """Begins before the first epoch.

        Args:
            network: what is trained, on `device`.
            optimiser: of its parameters.
            rows: the numbers of the examples to learn from, int64 [examples].
            epochs: passes over them.
            seed: of the order in which they are seen.
            precision: of the encoder's convolutions.
            folder: an existing folder.
            device: where to compute.
        """
        network.encoder.precision = precision
        self._network, self._optimiser = network, optimiser
        self._rows, self._epochs, self._folder, self._device = rows, epochs, folder, device
        self._shuffle = stream(seed, "shuffle")
        self._order = np.empty(0, np.int64)  # this epoch's rows
        self._scores: list[Tensor] = []  # of this epoch's updates
        self._row: dict[str, float] = {}
        self._epoch, self._updates, self._epoch_updates = 0, 0, 0

    def run(self, checkpoints: Checkpoints, report: Report) -> dict[str, float]:
        """Trains from the checkpoint, or from the beginning, to the end.

        Returns:
            The last epoch's row of metrics. The summary says whether the encoder has learned anything.

        Raises:
            Paused: where `checkpoints` stops the job.
        """
        saved = checkpoints.load()
        written, epoch = (saved["metrics"], saved["epoch"]) if saved else (None, 0)
        with MetricsWriter(self._folder, {"epochs": self.columns}, written, epoch) as metrics:
            if saved:
                self._restore(saved)
            while self._epoch < self._epochs:
                if not len(self._order):
                    self._order = self._shuffle.permutation(self._rows)
                batches = list(self._batches(self._order))
                for rows in batches[self._epoch_updates :]:
                    checkpoints.poll(lambda: self._state() | {"metrics": metrics.state()})
                    self._network.train()
                    self._scores.append(self._update(rows))
                    self._updates += 1
                    self._epoch_updates += 1
                    report(self._updates, self._epochs * len(batches), self._note() if self._row else "")
                self._end_epoch(metrics)
        save_encoder(self._folder / "encoder.safetensors", self._network.encoder, self._network.statistics)
        write_json(self._folder / "summary.json", self._summary())
        return self._row

    @abstractmethod
    def _batches(self, order: np.ndarray) -> Iterable[np.ndarray]:
        """Cuts an epoch's rows into batches."""

    @abstractmethod
    def _update(self, rows: np.ndarray) -> Tensor:
        """Makes one gradient step on a batch and returns its scores, float32 […, any number]."""

    @abstractmethod
    def _metrics(self, scores: Tensor) -> dict[str, float]:
        """Returns the epoch's row, but for `updates`, from all its scores, joined along their last dimension."""

    @abstractmethod
    def _note(self) -> str:
        """Returns what to say beside the progress, from the last row."""

    @abstractmethod
    def _summary(self) -> dict[str, Any]:
        """Returns the contents of summary.json, from the last row."""

    def _descend(self, loss: Tensor) -> None:
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()

    def _end_epoch(self, metrics: MetricsWriter) -> None:
        self._network.eval()
        self._row = {"updates": self._updates, **self._metrics(torch.cat(self._scores, dim=-1))}
        require_finite(self._row, f"epoch {self._epoch + 1}")
        self._epoch += 1
        self._order, self._scores, self._epoch_updates = np.empty(0, np.int64), [], 0
        metrics.row("epochs", self._epoch, self._row)

    def _state(self) -> State:
        return {
            "epoch": self._epoch,
            "updates": self._updates,
            "epoch_updates": self._epoch_updates,
            "row": self._row,
            "order": self._order,
            "scores": torch.cat(self._scores, dim=-1) if self._scores else torch.empty(0),
            "shuffle": generator_state(self._shuffle),
            "random": global_random_state(self._device),
            "network": self._network.state_dict(),
            "optimiser": optimiser_state(self._optimiser),
        }

    def _restore(self, state: State) -> None:
        self._epoch, self._updates, self._row = state["epoch"], state["updates"], state["row"]
        self._epoch_updates = state["epoch_updates"]
        self._order = np.asarray(state["order"])
        self._scores = [state["scores"].to(self._device)] if self._epoch_updates else []
        set_generator_state(self._shuffle, state["shuffle"])
        set_global_random_state(self._device, state["random"])
        set_network_state(self._network, state["network"])
        set_optimiser_state(self._optimiser, state["optimiser"])
