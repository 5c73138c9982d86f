"""Stored rows that are few enough to be held in memory: batches say which they are, and the model's graph takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfl.cut import Cut
from tfl.features.batches import Reader, StoredBatches
from tfl.lazy import tf


@dataclass(frozen=True)
class HeldCut(Cut):
    """A cut that starts from rows in memory; a batch has their places as `row`, [N] int64."""

    tables: Sequence[Any]
    """The rows of each tensor, [rows, …]."""
    in_memory: ClassVar[bool] = True

    def to_frontier(self, batch: Mapping[str, Any]) -> list[Any]:
        """The frontier's tensors for the rows at `batch["row"]`."""
        return self.frozen([tf.gather(table, batch["row"]) for table in self.tables], training=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldBatches(StoredBatches):
    """Batches that hold, in place of rows, where they are: `row`, [N] int64. A step on a small head takes less time than
    a copy of its batch on the way through a data set.
    """

    starts: Sequence[int]
    """The first row of each view."""

    def _columns(self, index: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        return {**super()._columns(index, epoch), "row": index + self.starts[epoch % len(self.starts)]}


def hold(rest: Cut, readers: Mapping[str, Sequence[Reader]]) -> tuple[Cut, dict[str, list[int]]]:
    """`rest`, a cut that takes rows, as one that takes their places in memory, and where those of each stream's views begin.

    `readers`: what reads the rows of each view of each stream.
    """
    starts: dict[str, list[int]] = {name: [] for name in readers}
    parts: list[list[np.ndarray]] = []
    count = 0
    for name, views in readers.items():
        for reader in views:
            starts[name].append(count)
            parts.append(reader.read(np.arange(len(reader))))
            count += len(reader)
    tables = [tf.constant(np.concatenate(one)) for one in zip(*parts, strict=True)]
    return HeldCut(rest.model, rest.frozen, rest.upper, rest.names, tables), starts
