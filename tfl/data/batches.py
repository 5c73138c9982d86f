"""What all batches of a split have in common: their order, how they are shared out, and where an epoch goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfl.data.examples import Examples
from tfl.data.steady import AHEAD, steady
from tfl.lazy import tf
from tfl.share import Share, weights

Batched = Callable[[Any], Any]
"""From a data set of examples to one of batches."""


def stream_seed(*parts: int) -> int:
    """One seed from several numbers, such as (run seed, phase, epoch); nearby numbers give unrelated seeds."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of one split. `epoch(e)` is a data set of dicts: the model's inputs, `index`, `label`, `share`.

    `index` is `[N] int64`, the place of each example in the split; `share` is `[N] float32`, 1 / the size of the whole
    global batch, so that a sum over the replicas' parts of it is the batch's mean.
    """

    examples: Examples
    batch_size: int
    """Global batch, across all replicas."""
    training: bool = False
    """Whether examples are shuffled and augmented."""
    seed: int = 0
    replicas: int = 1
    """Devices that share a batch. A last batch that has not one example for each is left out while training, and made up
    with examples that are there already otherwise."""
    static: bool = False
    """Whether all batches have one shape, as a TPU needs it: a last one that is not full is left out while training, and made
    up otherwise; texts are padded to the longest of the split."""

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, rest = divmod(len(self.examples), self.batch_size)
        return whole + int(rest >= self.least or (rest > 0 and not self.training))

    @property
    def least(self) -> int:
        """Rows that a batch has at least."""
        return self.batch_size if self.static else self.replicas

    def epoch(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """The batches of an epoch from batch number `skip` on, as an uninterrupted epoch would have gone on.

        With a `share`, the parts of some replicas in place of whole batches, one replica's after the other's.
        """
        shuffle = stream_seed(self.seed, epoch) if self.training else None
        data = self._shared_out(self._examples(shuffle, skip * self.batch_size), skip)
        if share is None:
            data = self._batch(data, epoch, lambda rows: rows.batch(self.batch_size, drop_remainder=self.static))
            data = data.map(_with_share, num_parallel_calls=tf.data.AUTOTUNE)
        else:
            sizes = self._sizes()[skip:]
            data = self._batch(share.elements(data, sizes), epoch, lambda rows: share.batched(rows, sizes))
            counts = tf.data.Dataset.from_tensor_slices(weights(np.repeat(sizes, share.count).tolist()))
            data = tf.data.Dataset.zip(data, counts).map(weighted)
        return steady(data).prefetch(AHEAD)

    @property
    def lasts(self) -> bool:
        """Whether `onwards` goes on through all epochs."""
        return False

    def onwards(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """As `epoch`; of batches that last, also those of the epochs after it."""
        return self.epoch(epoch, skip, share)

    def forever(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """As `epoch`, beginning anew when it ends."""
        return self.epoch(epoch, 0, share).repeat().skip(skip * (share.count if share is not None else 1))

    def _sizes(self) -> list[int]:
        """Rows of each batch of an epoch."""
        count, size = len(self), self.batch_size
        rest = len(self.examples) - size * (count - 1)
        return [size] * (count - 1) + [min(max(rest, self.least), size)] if count else []

    def in_order(self, view: int | None = None) -> tf.data.Dataset:
        """The batches in the order of the examples; with `view`, each example as it is augmented in that epoch."""
        one = replace(self, training=view is not None)
        data = one._batch(self.examples.dataset(), view or 0, lambda rows: rows.batch(self.batch_size))
        return steady(data).prefetch(AHEAD)

    def _shared_out(self, data: tf.data.Dataset, skip: int) -> tf.data.Dataset:
        """`data` without a rest that is too small to give each replica an example, or with that rest made up."""
        rest = len(self.examples) % self.batch_size
        if not 0 < rest < self.least:
            return data
        if self.training:
            return data.take(len(self.examples) - rest - skip * self.batch_size)
        return data.concatenate(data.take(self.least - rest).repeat().take(self.least - rest))

    def _examples(self, shuffle_seed: int | None, skip: int) -> tf.data.Dataset:
        return self.examples.dataset(shuffle_seed=shuffle_seed, skip=skip)

    def _batch(self, data: tf.data.Dataset, epoch: int, batched: Batched) -> tf.data.Dataset:
        raise NotImplementedError


def in_batches(count: int, batch_size: int, *, seed: int | None, replicas: int = 1) -> list[np.ndarray]:
    """The positions of `count` examples in the batches of an epoch, in random order where there is a `seed`.

    A last batch that has not one example for each replica is left out while training, and made up otherwise.
    """
    order = np.arange(count) if seed is None else np.random.default_rng(seed).permutation(count)
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    if batches and seed is not None and len(batches[-1]) < replicas:
        batches.pop()
    elif batches and len(batches[-1]) < replicas:
        batches[-1] = np.resize(batches[-1], replicas)
    return batches


def weighted(batch: Mapping[str, Any], weight: Any) -> dict[str, Any]:
    """`batch` with the `share` of each of its rows."""
    return {**batch, "share": tf.fill([tf.shape(batch["index"])[0]], weight)}


def _with_share(batch: Mapping[str, Any]) -> dict[str, Any]:
    size = tf.shape(batch["index"])[0]
    return {**batch, "share": tf.fill([size], 1.0 / tf.cast(size, tf.float32))}
