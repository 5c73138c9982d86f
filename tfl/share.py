"""Which part of every global batch a process reads, where several share one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.lazy import tf


@dataclass(frozen=True)
class Share:
    """The parts of `count` replicas, from number `first` on, of a batch that `replicas` of them share."""

    first: int
    count: int
    replicas: int

    def parts(self, batch: np.ndarray) -> list[np.ndarray]:
        """What of `batch`, [n] with at least as many rows as there are replicas, each of the replicas takes."""
        return np.array_split(batch, self.replicas)[self.first : self.first + self.count]

    def elements(self, data: tf.data.Dataset, sizes: Sequence[int]) -> tf.data.Dataset:
        """Of the unbatched `data`, which has batches of so many `sizes`, the elements of these replicas."""
        mine = [np.isin(np.arange(size), np.concatenate(self.parts(np.arange(size)))) for size in sizes]
        with tf.init_scope(), tf.device("CPU:0"):
            keep = tf.constant(np.concatenate([np.empty(0, bool), *mine]))
        return data.enumerate().filter(lambda place, _: tf.gather(keep, place)).map(lambda _, element: element)

    def batched(self, data: tf.data.Dataset, sizes: Sequence[int]) -> tf.data.Dataset:
        """The `elements` of these replicas in batches of their own, one replica's after the other's."""
        own = np.array([len(part) for size in sizes for part in self.parts(np.arange(size))], np.int64)
        with tf.init_scope(), tf.device("CPU:0"):
            rows, number = tf.constant(own), tf.constant(np.repeat(np.arange(len(own)), own))
        return data.enumerate().group_by_window(
            lambda place, _: tf.gather(number, place),
            lambda _, window: window.map(lambda _, element: element).batch(int(own.max(initial=1))),
            window_size_func=lambda key: tf.gather(rows, key),
        )


def split(batches: Sequence[np.ndarray], share: Share | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """(part, whole batch) of each part that a process reads of `batches`; each whole batch where nobody shares them."""
    return [(part, batch) for batch in batches for part in ([batch] if share is None else share.parts(batch))]


def weights(sizes: Sequence[int]) -> Any:
    """1 / size of each batch, [B] float32: what a row of it counts for."""
    with tf.init_scope(), tf.device("CPU:0"):
        return tf.constant(np.float32(1) / np.asarray(sizes, np.float32))
