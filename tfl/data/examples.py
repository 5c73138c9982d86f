"""Labelled examples: `Columns` held in memory, or a `Stream` whose content stays on disk.

Both have the same face: `ids`, `labels`, `digests`, `len()`, `take()`, `dataset()` and `element_spec`. Nothing
else in tfl needs to know which of the two it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from tfl.data.steady import steady
from tfl.kinds import Kind
from tfl.lazy import tf

Modality = Literal["image", "text"]

SHUFFLE_BUFFER = 2048
"""Examples that a `Stream` holds while it shuffles: encoded images of 100 kB make that 200 MB."""


def digest(*parts: bytes) -> bytes:
    """BLAKE2b-128 of `parts`, in hex: 32 bytes. Where the parts end counts: ("ab", "c") is not ("a", "bc")."""
    state = hashlib.blake2b(digest_size=16)
    for place, part in enumerate(parts):
        if place:
            state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest().encode()


def strings(values: Iterable[Any]) -> np.ndarray:
    """`values` as an array of Python strings: [N], dtype object."""
    listed = [str(value) for value in values]
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def encoded(images: Sequence[bytes]) -> np.ndarray:
    """Encoded images as an array: [N], dtype object; an array of bytes would lose zeros at their ends."""
    array = np.empty(len(images), dtype=object)
    array[:] = images
    return array


def writable(name: str) -> str:
    """`name`, that of a file, as UTF-8 can hold it: a byte of it that is none is written out, `caf\\udce9.jpg`."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def digests(values: Iterable[bytes]) -> np.ndarray:
    """Results of `digest` as an array: [N], dtype S32."""
    return np.array(list(values), dtype="S32")


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """Examples as columns in memory, with random access: paths, encoded bytes, texts, small arrays."""

    ids: np.ndarray
    """[N] str, dtype object; unique and readable: "bees/12.jpg", "calls.csv:14" (line), "train/000017"."""
    inputs: dict[str, Any]
    """Columns of length N: "path" str | "image" bytes or uint8 [N, H, W(, C)] | "text", "text_pair" str | any tensor,
    ragged too."""
    labels: np.ndarray | None
    """[N] int64 class index | [N, C] float32 0/1 (multi-label) | [N] float32 (regression) | None."""
    digests: np.ndarray
    """[N] S32: `digest` of the content of the inputs (file bytes, text bytes, array bytes), not of the label."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: np.ndarray) -> Columns:
        """The examples at `indices` ([M] int), in that order."""
        indices = np.asarray(indices, dtype=np.int64)
        return Columns(
            ids=self.ids[indices],
            inputs={name: _rows(column, indices) for name, column in self.inputs.items()},
            labels=None if self.labels is None else self.labels[indices],
            digests=self.digests[indices],
        )

    def dataset(self, *, shuffle_seed: int | None = None, skip: int = 0) -> tf.data.Dataset:
        """Unbatched dicts {"index": int64 position in these columns, **inputs, "label" where there are labels}.

        In order, or in a random order that `shuffle_seed` determines exactly.
        """
        order = np.arange(len(self), dtype=np.int64)
        if shuffle_seed is not None:
            order = np.random.default_rng(shuffle_seed).permutation(order)
        return self.ordered(order[skip:])

    @property
    def element_spec(self) -> dict[str, tf.TensorSpec]:
        """What `dataset` yields, by name; found without making one, which takes longer."""
        columns = {name: tf.TensorSpec(column.shape[1:], column.dtype) for name, column in self._tensors.items()}
        return {"index": tf.TensorSpec([], tf.int64), **columns}

    def ordered(self, order: np.ndarray) -> tf.data.Dataset:
        """The dicts of `dataset` for the positions `order` ([M] int64), in that order.

        Columns are gathered by position, so leaving out the first of `order` costs nothing and no epoch copies an array.
        """
        columns = self._tensors

        def gather(index: Any) -> dict[str, Any]:
            return {"index": index, **{name: _row(column, index) for name, column in columns.items()}}

        return steady(tf.data.Dataset.from_tensor_slices(order).map(gather, num_parallel_calls=tf.data.AUTOTUNE))

    def gathered(self, positions: Any) -> dict[str, Any]:
        """The columns `index`, inputs and, where there are labels, `label` at `positions` ([M] int64), as tensors; a
        ragged column stays ragged. In a graph, the columns are captured."""
        return {"index": positions, **{name: tf.gather(column, positions) for name, column in self._tensors.items()}}

    @cached_property
    def _tensors(self) -> dict[str, Any]:
        """The columns as eager tensors in host memory, made once: a dataset captures them, its graph does not hold
        them."""
        columns = dict(self.inputs) if self.labels is None else {**self.inputs, "label": self.labels}
        with tf.init_scope(), tf.device("CPU:0"):
            return {name: _tensor(column) for name, column in columns.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """Examples whose content stays on disk and is read in file order: TFDS, TFRecord."""

    ids: np.ndarray
    """[N] str, dtype object, as in `Columns`."""
    labels: np.ndarray | None
    """As in `Columns`."""
    digests: np.ndarray
    """As in `Columns`."""
    positions: np.ndarray
    """[N] int64, strictly ascending: which elements of `open()` these are."""
    open: Callable[[], tf.data.Dataset] = field(repr=False)
    """Opens the underlying data: unbatched dicts of inputs, always in the same order."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: np.ndarray) -> Stream:
        """The examples at `indices` ([M] int), which must ascend strictly: a stream is read in file order."""
        indices = np.asarray(indices, dtype=np.int64)
        if np.any(np.diff(indices) <= 0):
            raise ValueError("a Stream is read in file order: the indices to take must ascend strictly; sort them first")
        return Stream(
            ids=self.ids[indices],
            labels=None if self.labels is None else self.labels[indices],
            digests=self.digests[indices],
            positions=self.positions[indices],
            open=self.open,
        )

    @property
    def element_spec(self) -> dict[str, Any]:
        """As in `Columns`; the data has to be opened for it."""
        spec: dict[str, Any] = self.dataset().element_spec
        return spec

    def dataset(self, *, shuffle_seed: int | None = None, skip: int = 0) -> tf.data.Dataset:
        """As in `Columns`, but shuffled through a buffer of `SHUFFLE_BUFFER` examples, and skipped examples are read.

        The order is determined by `shuffle_seed`, and by TensorFlow's global seed where one is set.
        """
        last = int(self.positions[-1]) if len(self) else -1
        places = np.full(last + 2, -1, dtype=np.int64)
        places[self.positions] = np.arange(len(self), dtype=np.int64)
        with tf.init_scope(), tf.device("CPU:0"):
            index_at = tf.constant(places)
            labels = None if self.labels is None else tf.constant(self.labels)

        def attach(position: Any, inputs: dict[str, Any]) -> dict[str, Any]:
            index = tf.gather(index_at, position)
            example = {"index": index, **inputs}
            return example if labels is None else {**example, "label": tf.gather(labels, index)}

        data = self.open().take(last + 1).enumerate()
        data = data.filter(lambda position, _: tf.gather(index_at, position) >= 0)
        if shuffle_seed is not None:
            # The operation's seed is a signed 32-bit pair inside; fold larger seeds into it.
            data = data.shuffle(SHUFFLE_BUFFER, seed=shuffle_seed % (2**31), reshuffle_each_iteration=False)
        data = data.skip(skip).map(attach, num_parallel_calls=tf.data.AUTOTUNE)
        return steady(data.apply(tf.data.experimental.assert_cardinality(max(0, len(self) - skip))))


Examples = Columns | Stream


@dataclass(frozen=True)
class Unreadable:
    """An example that could not be used."""

    id: str
    reason: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", writable(self.id))


@dataclass(frozen=True, kw_only=True, eq=False)
class Records:
    """What a source's `read()` returns: examples as they came, before anything is cut."""

    splits: dict[str, Examples]
    """{"all": …}, or "train" and, where the source brings them, "validation" and "test"."""
    class_names: tuple[str, ...]
    """() for regression."""
    modality: Modality
    kind: Kind
    unreadable: tuple[Unreadable, ...] = ()
    groups: dict[str, np.ndarray] | None = None
    """Per split, [N]: what must stay on one side together (a company, a patient)."""
    left_out: dict[str, dict[str, int]] = field(default_factory=dict)
    """{class: {suffix: files}} of images in formats that are not read at all."""


def _rows(column: Any, indices: np.ndarray) -> Any:
    return column[indices] if isinstance(column, np.ndarray) else tf.gather(column, indices)


def _row(column: Any, index: Any) -> Any:
    return column[index] if isinstance(column, tf.RaggedTensor) else tf.gather(column, index)


def _tensor(column: Any) -> Any:
    return column if tf.is_tensor(column) or isinstance(column, tf.RaggedTensor) else tf.convert_to_tensor(column)
