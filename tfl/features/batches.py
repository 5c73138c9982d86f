"""Batches that are read from the store in place of being computed."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tfl.data.batches import Batches, in_batches, stream_seed
from tfl.data.examples import Columns
from tfl.data.lengths import batches_by_length
from tfl.data.steady import AHEAD, steady
from tfl.features.shard import Shard, numpy_dtype
from tfl.features.store import Entry, Place
from tfl.lazy import tf
from tfl.share import Share, split

OPEN_FILES = 512
"""Shards that a process holds open: those of 100,000 rows, and half of the files that systems let a process open."""
IN_MEMORY = 64 << 20
"""Bytes of the rows of a split up to which they are held in memory: a batch of pooled features is quicker to gather there
than to read by a call of Python for each."""


@dataclass(frozen=True, eq=False)
class View:
    """Where the rows of a split are in one entry; the entry is kept as long as this is."""

    entry: Entry
    place: Place

    @property
    def shards(self) -> Sequence[Shard]:
        """The entry's files."""
        return self.entry.shards


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureBatches(Batches):
    """Batches of the stored tensors `frozen_0`, `frozen_1`, …; epoch e has the view number e of each example.

    Tensors of texts are padded with zeros to the longest of the batch. (What stands behind the end of a text shapes
    nothing: attention and pooling leave it out.)
    """

    examples: Columns
    """Ids and labels alone."""
    views: tuple[View, ...]
    lengths: np.ndarray | None = None
    """Tokens of each example, [N], where the stored tensors have an axis of tokens."""
    max_tokens: int | None = None
    dtypes: tuple[str, ...] = ()
    """In which the model takes the stored tensors."""
    in_memory: int = IN_MEMORY
    """Bytes that the rows of a view may have to be held in memory."""

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._positions(0))

    def padding(self) -> float | None:
        """The share of an epoch's tokens that are padding, 0 to 1; None where nothing has an axis of tokens."""
        if self.lengths is None:
            return None
        batches = self._positions(0)
        tokens = sum(len(batch) * int(self.lengths[batch].max()) for batch in batches)
        return 1 - sum(int(self.lengths[batch].sum()) for batch in batches) / max(tokens, 1)

    @property
    def lasts(self) -> bool:
        """True: `onwards` does not end, so that one data set serves all epochs; making one takes longer than many steps."""
        return True

    def epoch(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """As in `Batches`."""
        if not (self.training or skip or share):
            return self._in_order
        return self.onwards(epoch, skip, share).take((len(self) - skip) * (share.count if share is not None else 1))

    @cached_property
    def _in_order(self) -> tf.data.Dataset:
        """The batches of every epoch of examples that are not trained on."""
        return self.onwards().take(len(self))

    def onwards(self, epoch: int = 0, skip: int = 0, share: Share | None = None) -> tf.data.Dataset:
        """The batches from number `skip` of an epoch on, and those of the epochs after it."""
        this = weakref.ref(self)  # TensorFlow keeps what it calls back as long as the process lives; the data set keeps this

        def positions(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            batches = this()
            if batches is None:  # what was read ahead when the last batch had been taken
                raise StopIteration
            own = split(batches._positions(int(number))[skip if number == epoch else 0 :], share)
            sizes = np.array([len(part) for part, _ in own], np.int64)
            flat = np.concatenate([np.empty(0, np.int64), *(part for part, _ in own)])
            return flat, sizes, np.float32(1) / np.array([len(batch) for _, batch in own], np.float32)

        def batches(number: Any) -> tf.data.Dataset:
            flat, sizes, weight = tf.numpy_function(positions, [number], [tf.int64, tf.int64, tf.float32], stateful=False)
            flat, sizes = tf.ensure_shape(flat, [None]), tf.ensure_shape(sizes, [None])
            index = tf.RaggedTensor.from_row_lengths(flat, sizes, validate=False)
            view = tf.fill(tf.shape(sizes), tf.cast(number % len(self.views), tf.int32))
            return tf.data.Dataset.from_tensor_slices((view, index, tf.ensure_shape(weight, [None])))

        plain = tf.autograph.experimental.do_not_convert  # quicker to trace
        data = tf.data.Dataset.counter(epoch).flat_map(plain(batches)).map(plain(self._read), num_parallel_calls=2)
        return steady(data).prefetch(AHEAD)

    def _read(self, view: Any, index: Any, weight: Any) -> dict[str, Any]:
        """The batch of the examples at `index` as they are in a view."""
        readers = [functools.partial(read, index, weight) for read in self._readers]
        found: dict[str, Any] = readers[0]() if len(readers) == 1 else tf.switch_case(view, readers)
        return found

    @cached_property
    def _readers(self) -> list[Any]:
        """For each view, the function from positions to a batch; traced once, not in every epoch."""
        labels = self.examples.labels

        def reader(view: View) -> Any:
            lengths = self.lengths
            longest = int(lengths.max()) if self.static and lengths is not None else None
            rows = Reader(view, lengths, self.dtypes, longest, self.in_memory)

            def batch(index: Any, weight: Any) -> dict[str, Any]:
                values = {**rows.tensors(index), "index": index, "share": tf.fill([tf.shape(index)[0]], weight)}
                return values if labels is None else {**values, "label": tf.gather(labels, index)}

            return tf.function(batch, [tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.float32)], autograph=False)

        return [reader(view) for view in self.views]

    def _positions(self, epoch: int) -> list[np.ndarray]:
        seed = stream_seed(self.seed, epoch) if self.training else None
        common: dict[str, Any] = {"seed": seed, "replicas": self._least}
        lengths = self.lengths
        if lengths is not None:
            lengths = np.full_like(lengths, lengths.max(initial=0)) if self.static else lengths
            return batches_by_length(lengths, self.batch_size, max_tokens=self.max_tokens, **common)
        return in_batches(len(self.examples), self.batch_size, **common)


class Reader:
    """Reads rows out of shards, by position in the split."""

    def __init__(
        self,
        view: View,
        lengths: np.ndarray | None,
        dtypes: Sequence[str],
        length: int | None = None,
        in_memory: int = 0,
    ) -> None:
        """`length`: that all texts are padded to; None: the longest of each batch. `in_memory`: see `FeatureBatches`."""
        self._view, self._lengths, self._dtypes, self._length, self._in_memory = view, lengths, dtypes, length, in_memory
        used = [view.shards[number] for number in np.unique(view.place.shard)]
        if len({part.form for part in used}) > 1:
            raise OSError(f"the shards in {view.entry.folder} do not agree; `tfl cache clear {view.entry.folder.name}`")
        self._columns = {f"frozen_{place}": used[0].columns[f"frozen_{place}"] for place in range(len(used[0].columns))}

    def tensors(self, index: Any) -> dict[str, Any]:
        """`{name: [n, …]}` for `index`, [n] int64 positions; as an operation of a data set."""
        if self._held is not None:
            return {name: tf.gather(values, index) for name, values in self._held.items()}
        this = weakref.ref(self)  # as in `FeatureBatches.onwards`

        def rows(index: np.ndarray) -> list[np.ndarray]:
            reader = this()
            if reader is None:  # see `FeatureBatches.onwards`
                raise StopIteration
            return reader.read(index)

        read = tf.numpy_function(rows, [index], [tf.as_dtype(name) for name in self._dtypes], stateful=False)
        result = {}
        for (name, column), tensor in zip(self._columns.items(), read, strict=True):
            result[name] = tf.ensure_shape(tensor, [None, *([self._length] if column.ragged else []), *column.row])
        return result

    @cached_property
    def _held(self) -> dict[str, Any] | None:
        """All rows, where they have no axis of tokens and are not too many; None otherwise."""
        count = len(self._view.place.shard)
        columns = self._columns.values()
        if any(column.ragged for column in columns) or count * sum(column.step for column in columns) > self._in_memory:
            return None
        with tf.init_scope(), tf.device("CPU:0"):
            return dict(zip(self._columns, map(tf.constant, self.read(np.arange(count))), strict=True))

    def read(self, index: np.ndarray) -> list[np.ndarray]:
        """The rows at `index` of each column, in the order of the columns' names."""
        shards, rows = self._view.place.shard[index].tolist(), self._view.place.row[index].tolist()
        parts = self._view.shards
        longest = self._length or (int(self._lengths[index].max()) if self._lengths is not None else 0)
        found = []
        for (name, column), dtype in zip(self._columns.items(), self._dtypes, strict=True):
            shape = (len(index), *([longest] if column.ragged else []), *column.row)
            values = (np.zeros if column.ragged else np.empty)(shape, numpy_dtype(column.dtype))
            flat, step = values.reshape(len(index), -1).view(np.uint8), column.step
            for into, number, row in zip(flat, shards, rows, strict=True):
                part = parts[number]
                start, end = (int(part.starts[row]), int(part.starts[row + 1])) if column.ragged else (row, row + 1)
                _open(part).read(into[: step * (end - start)], part.columns[name].offset + start * step)
            found.append(values.astype(numpy_dtype(dtype), copy=False))
        return found


@lru_cache(OPEN_FILES)
def _open(part: Shard) -> _File:
    """The open file of `part`; by the shard that was checked and not by its path, where another file may stand by now."""
    return _File(part.path)


class _File:
    """An open file, closed when nobody knows it any more."""

    def __init__(self, path: Any) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def read(self, into: np.ndarray, offset: int) -> None:
        """Fills `into`, [n] uint8, from the byte `offset` on."""
        if os.preadv(self._descriptor, [into.data], offset) != len(into):
            raise OSError("a shard of the feature store is shorter than it was; `tfl cache verify` finds it")
