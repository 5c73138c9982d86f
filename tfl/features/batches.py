"""Batches that are read from the store in place of being computed."""

from __future__ import annotations

import functools
import os
import weakref
from collections.abc import Iterable, Sequence
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
NO_END = 1 << 62
"""More epochs than there are."""


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
class StoredBatches(Batches):
    """Batches of stored rows; epoch e has the view number e of each example, and after the last view the first.

    One data set goes on through all epochs; making it takes longer than many steps.
    """

    examples: Columns
    """Ids and labels alone."""
    lengths: np.ndarray | None = None
    """Tokens of each example, [N], where texts of like length share a batch."""
    max_tokens: int | None = None

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._positions(0))

    @property
    def lasts(self) -> bool:
        """True: `onwards` does not end."""
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
        this = weakref.ref(self)  # TensorFlow keeps what it calls back as long as the process lives

        def columns(number: int) -> list[np.ndarray]:
            batches = this()
            if batches is None:  # what was read ahead when the last batch had been taken
                raise StopIteration
            own = split(batches._positions(int(number))[skip if number == epoch else 0 :], share)
            sizes = np.array([len(part) for part, _ in own], np.int64)
            index = np.concatenate([np.empty(0, np.int64), *(part for part, _ in own)])
            found = batches._columns(index, int(number))
            weight = np.float32(1) / np.array([len(batch) for _, batch in own], np.float32)
            return [sizes, *found.values(), np.repeat(weight, sizes)]

        def batches(number: Any) -> tf.data.Dataset:
            like = self._columns(np.empty(0, np.int64), 0) | {"share": np.empty(0, np.float32)}  # the data set keeps `self`
            types = [tf.int64, *(tf.as_dtype(column.dtype) for column in like.values())]
            sizes, *flat = tf.numpy_function(columns, [number], types, stateful=False)
            sizes = tf.ensure_shape(sizes, [None])
            rows = [tf.ensure_shape(one, [None, *column.shape[1:]]) for one, column in zip(flat, like.values(), strict=True)]
            first = tf.RaggedTensor.from_row_lengths(rows[0], sizes, validate=False)
            parts = [first.with_flat_values(one) for one in rows]  # where the batches end is worked out once
            return tf.data.Dataset.from_tensor_slices(dict(zip(like, parts, strict=True)))

        plain = tf.autograph.experimental.do_not_convert  # quicker to trace
        data = self._completed(tf.data.Dataset.range(epoch, NO_END).flat_map(plain(batches)))
        return steady(data).prefetch(AHEAD)

    def _columns(self, index: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        """What batches of an epoch hold of the examples at `index` without reading."""
        labels = self.examples.labels
        return {"index": index} if labels is None else {"index": index, "label": labels[index]}

    def _completed(self, data: tf.data.Dataset) -> tf.data.Dataset:
        """`data`, a data set of batches of `_columns`, with what is to be read."""
        return data

    def _positions(self, epoch: int) -> list[np.ndarray]:
        """The places of the examples of each batch."""
        common: dict[str, Any] = {"seed": self._order(epoch), "replicas": self.least}
        if self.lengths is None:
            return in_batches(len(self.examples), self.batch_size, **common)
        lengths = np.full_like(self.lengths, self.lengths.max(initial=0)) if self.static else self.lengths
        return batches_by_length(lengths, self.batch_size, max_tokens=self.max_tokens, **common)

    def _order(self, epoch: int) -> int | None:
        return stream_seed(self.seed, epoch) if self.training else None


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureBatches(StoredBatches):
    """Batches of the stored tensors `frozen_0`, `frozen_1`, …, read from disk.

    Tensors of texts are padded with zeros to the longest of the batch. (What stands behind the end of a text shapes
    nothing: attention and pooling leave it out.)
    """

    readers: tuple[Reader, ...]
    """Of each view."""

    def padding(self) -> float | None:
        """The share of an epoch's tokens that are padding, 0 to 1; None where nothing has an axis of tokens."""
        if self.lengths is None or self.readers[0].row_bytes is not None:
            return None
        batches = self._positions(0)
        tokens = sum(len(batch) * int(self.lengths[batch].max()) for batch in batches)
        return 1 - sum(int(self.lengths[batch].sum()) for batch in batches) / max(tokens, 1)

    def _columns(self, index: np.ndarray, epoch: int) -> dict[str, np.ndarray]:
        view = np.full(len(index), epoch % len(self.readers), np.int32)
        return {**super()._columns(index, epoch), "view": view}

    def _completed(self, data: tf.data.Dataset) -> tf.data.Dataset:
        return data.map(tf.autograph.experimental.do_not_convert(self._read), num_parallel_calls=2)

    def _read(self, batch: dict[str, Any]) -> dict[str, Any]:
        """`batch` with the rows of its examples as they are in its view."""
        readers = [functools.partial(reader, batch["index"]) for reader in self._functions]
        rows = readers[0]() if len(readers) == 1 else tf.switch_case(batch["view"][0], readers)
        return {name: tensor for name, tensor in {**rows, **batch}.items() if name != "view"}

    @cached_property
    def _functions(self) -> list[Any]:
        """What reads each view; traced once, not in every epoch."""
        specification = [tf.TensorSpec([None], tf.int64)]
        return [tf.function(reader.tensors, specification, autograph=False) for reader in self.readers]


class Reader:
    """Reads rows out of shards, by position in the split."""

    def __init__(
        self,
        view: View,
        lengths: np.ndarray | None,
        dtypes: Sequence[str],
        length: int | None = None,
    ) -> None:
        """`length`: that all texts are padded to; None: the longest of each batch. `dtypes`: in which the model takes them."""
        self.view, self._lengths, self._dtypes, self._length = view, lengths, dtypes, length
        used = [view.shards[number] for number in np.unique(view.place.shard)]
        if len({part.form for part in used}) > 1:
            raise OSError(f"the shards in {view.entry.folder} do not agree; `tfl cache clear {view.entry.folder.name}`")
        weakref.finalize(self, _open.cache_clear)  # room that is made in the store is free when nobody has its files open
        self._columns = {f"frozen_{place}": used[0].columns[f"frozen_{place}"] for place in range(len(used[0].columns))}

    def __len__(self) -> int:
        """Rows."""
        return len(self.view.place.shard)

    def tensors(self, index: Any) -> dict[str, Any]:
        """`{name: [n, …]}` for `index`, [n] int64 positions; as an operation of a data set."""
        this = weakref.ref(self)  # as in `StoredBatches.onwards`

        def rows(index: np.ndarray) -> list[np.ndarray]:
            reader = this()
            if reader is None:  # see `StoredBatches.onwards`
                raise StopIteration
            return reader.read(index)

        read = tf.numpy_function(rows, [index], [tf.as_dtype(name) for name in self._dtypes], stateful=False)
        result = {}
        for (name, column), tensor in zip(self._columns.items(), read, strict=True):
            result[name] = tf.ensure_shape(tensor, [None, *([self._length] if column.ragged else []), *column.row])
        return result

    @property
    def row_bytes(self) -> int | None:
        """Bytes of a row in memory; None where rows have an axis of tokens."""
        if any(column.ragged for column in self._columns.values()):
            return None
        sizes = (np.prod(column.row, dtype=int) for column in self._columns.values())
        return int(sum(size * numpy_dtype(dtype).itemsize for size, dtype in zip(sizes, self._dtypes, strict=True)))

    def read(self, index: np.ndarray) -> list[np.ndarray]:
        """The rows at `index` of each column, in the order of the columns' names."""
        shards, rows = self.view.place.shard[index], self.view.place.row[index]
        longest = self._length or (int(self._lengths[index].max()) if self._lengths is not None else 0)
        found = []
        for (name, column), dtype in zip(self._columns.items(), self._dtypes, strict=True):
            shape = (len(index), *([longest] if column.ragged else []), *column.row)
            values = (np.zeros if column.ragged else np.empty)(shape, numpy_dtype(column.dtype))
            flat, step = values.reshape(len(index), -1).view(np.uint8), column.step
            for first, last, number, row in _runs(shards, rows, together=not column.ragged):
                part = self.view.shards[number]
                start = int(part.starts[row]) if column.ragged else row
                size = int(part.starts[row + 1]) - start if column.ragged else last - first
                _open(part).read(flat[first:last].reshape(-1)[: step * size], part.columns[name].offset + start * step)
            found.append(values.astype(numpy_dtype(dtype), copy=False))
        return found


def _runs(shards: np.ndarray, rows: np.ndarray, together: bool) -> Iterable[tuple[int, int, int, int]]:
    """What is read at once: from which place of `rows` to before which, and the shard and the row there that it begins with.

    `together`: rows that lie one after the other in a shard; else each by itself.
    """
    begins = np.ones(len(rows), bool)
    if together:
        begins[1:] = (np.diff(shards) != 0) | (np.diff(rows) != 1)
    first = np.flatnonzero(begins)
    return zip(first.tolist(), [*first[1:].tolist(), len(rows)], shards[first].tolist(), rows[first].tolist(), strict=False)


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
        done = 0
        while done < len(into):  # a system reads no more than 2 GiB at once, some much less
            count = os.preadv(self._descriptor, [into[done:].data], offset + done)
            if not count:
                raise OSError("a shard of the feature store is shorter than it was; `tfl cache verify` finds it")
            done += count
