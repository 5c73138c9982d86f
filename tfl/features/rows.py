"""The examples of a split as rows of the store: their ids, and the batches of fixed shape in which they are computed.

A batch's size and padding move a feature by about 1e-7; which examples share a batch of one shape, and where in it they
stand, does not move it at all. So all batches have one size, and one padding for each length: the value of a row depends
on the row alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from tfl.config import UserError, plain
from tfl.data import scan
from tfl.data.batches import Batches
from tfl.data.examples import Columns
from tfl.data.files import hash_files
from tfl.data.pipeline import ImageBatches, TextBatches
from tfl.lazy import tf

ROWS = 32
"""Examples that are computed together."""
TOKENS = 1024
"""Tokens that are computed together, padding included; longer texts go one by one."""
REMEMBERED = 8
"""Splits whose images' scales are remembered for a next run in this process."""
STEP = 8
"""Tokens to whose multiples the texts of a batch are padded."""


_ratios_of: dict[tuple[bytes, tuple[int, int], str], np.ndarray] = {}
"""By what the images hold, and how they are resized: by how much each is decoded smaller."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The examples of one split, in the order of the split."""

    batches: Batches
    """How they are read; for their ids only their content matters, and at what scale images are decoded."""

    def serve(self, batches: Batches) -> bool:
        """Whether the rows of `batches` are these: the same examples, decoded in the same way."""
        if batches.examples is not self.batches.examples:
            return False
        return all(getattr(batches, name, None) == getattr(self.batches, name, None) for name in ("reduced", "size", "resize"))

    @cached_property
    def lengths(self) -> np.ndarray | None:
        """Tokens of each text, [N]; None where the backbone takes no tokens."""
        if not isinstance(self.batches, TextBatches):
            return None
        return np.asarray(self.batches.examples.inputs["padding_mask"].row_lengths())

    @cached_property
    def ids(self) -> np.ndarray:
        """What tells the rows apart, [N] S32: digests of the images as they are decoded, or of the token ids."""
        if isinstance(self.batches, TextBatches):
            return _of_tokens(self.batches.examples.inputs)
        digests = self.batches.examples.digests
        if not (isinstance(self.batches, ImageBatches) and self.batches.reduced):
            return digests
        ratios = self._ratios()
        found = digests.astype("S32")
        for place in np.flatnonzero(ratios > 1):
            found[place] = _digest(digests[place] + b"/%d" % ratios[place])
        return found

    def _ratios(self) -> np.ndarray:
        """By how much each image is decoded smaller, [N]; for a stream, whose files are not looked at one by one, 1."""
        batches: Any = self.batches
        inputs = getattr(batches.examples, "inputs", {})
        items = inputs.get("path", inputs.get("image"))
        if items is None or getattr(items, "dtype", None) == np.uint8:
            return np.ones(len(batches.examples), np.int8)
        key = _digest(batches.examples.digests.tobytes()), batches.size, batches.resize
        if key not in _ratios_of:
            while len(_ratios_of) >= REMEMBERED:
                _ratios_of.pop(next(iter(_ratios_of)))
            _ratios_of[key] = scan.ratios(list(items), batches.size, batches.resize).astype(np.int8)
        return _ratios_of[key]

    def describe(self, batches: Batches, view: int | None, view_seed: int) -> dict[str, Any]:
        """What shapes a row of `batches` beside its id and the model: preprocessing, size, and augmentation of a view."""
        if isinstance(batches, TextBatches):
            return {"tokens": TOKENS, "step": STEP, "limit": batches.limit}
        if not isinstance(batches, ImageBatches):
            return {"rows": ROWS}
        spec = batches.examples.element_spec.get("image")
        array = spec.shape if spec is not None and spec.dtype != tf.string else None
        return {
            "rows": ROWS,
            # Of columns, the id of a row says at what scale it is decoded; a stream's files are not looked at one by one.
            "reduced": batches.reduced and not isinstance(batches.examples, Columns),
            "preprocess": plain(batches.preprocess),
            "resize": batches.resize,
            "size": list(batches.size),
            "array": None if array is None else [str(size) for size in array],  # a digest is of bytes, not of their shape
            "view": None if view is None else {"augment": plain(batches.augment), "seed": view_seed, "number": view},
        }

    def plan(self, missing: np.ndarray) -> list[np.ndarray]:
        """The positions `missing`, ascending, in batches that are computed together."""
        if self.lengths is None:
            return [missing[start : start + ROWS] for start in range(0, len(missing), ROWS)]
        padded = self._padded(missing)
        plan = []
        for length in np.unique(padded):
            own, size = missing[padded == length], _rows_of(length)
            plan += [own[start : start + size] for start in range(0, len(own), size)]
        return plan

    def _padded(self, positions: np.ndarray) -> np.ndarray:
        """The length to which the text at each of `positions` is padded: a multiple, but no more than the backbone takes."""
        assert self.lengths is not None
        limit = getattr(self.batches, "limit", None) or np.iinfo(np.int64).max
        return np.minimum(-(-self.lengths[positions] // STEP) * STEP, limit)

    def compute(
        self, batches: Batches, plan: Sequence[np.ndarray], names: Sequence[str], view: int | None, view_seed: int
    ) -> Iterator[list[Any]]:
        """For each batch of `plan` the tensors `names` of `batches`, filled up to their fixed number of rows."""
        if not plan:
            return
        if isinstance(batches, TextBatches):
            yield from self._texts(plan, names, batches)
            return
        positions = np.concatenate(plan)
        examples = batches.examples.take(positions)
        chosen = dataclasses.replace(batches, examples=examples, batch_size=ROWS, seed=view_seed)
        for batch in chosen.in_order(view):
            yield [_filled(batch[name], ROWS) for name in names]

    @cached_property
    def _looked_at(self) -> np.ndarray:
        return np.zeros(len(self.batches.examples), bool)

    def check_unchanged(self, positions: np.ndarray) -> None:
        """Raises `UserError` where a file at `positions` is another one than when the data was read: its row would be found by
        the content that it had. A file is looked at once, not for every view.
        """
        examples = self.batches.examples
        if not isinstance(examples, Columns) or "path" not in examples.inputs:
            return
        positions = positions[~self._looked_at[positions]]
        self._looked_at[positions] = True
        paths = examples.inputs["path"][positions].tolist()
        for path, found, expected in zip(paths, hash_files(paths), examples.digests[positions].tolist(), strict=True):
            if found != expected:
                raise UserError(f"{path}: changed since the data was read; start again when the data stays as it is")

    def read(self, plan: Sequence[np.ndarray], stored: Source) -> Iterator[list[Any]]:
        """For each batch of `plan` the tensors that are `stored`, filled up likewise."""
        for positions in plan:
            yield [_filled(tf.constant(values), ROWS) for values in stored.read(positions)]

    def _texts(self, plan: Sequence[np.ndarray], names: Sequence[str], batches: TextBatches) -> Iterator[list[Any]]:
        columns, pads = batches.examples.inputs, batches.pad_values
        for positions in plan:
            length = int(self._padded(positions)[0])
            rows = [tf.gather(columns[name], positions).to_tensor(pads[name], shape=[None, length]) for name in names]
            yield [_filled(tensor, _rows_of(length)) for tensor in rows]


class Source(Protocol):
    """What reads stored rows by their positions."""

    def read(self, index: np.ndarray) -> list[np.ndarray]:
        """Each tensor of the rows at `index`."""


def _rows_of(length: int) -> int:
    return max(1, TOKENS // int(length))


def _filled(tensor: Any, rows: int) -> Any:
    """`tensor` with its last row repeated until it has `rows` of them."""
    if tensor.shape[0] == rows:  # no copy
        return tensor
    return tf.gather(tensor, tf.minimum(tf.range(rows), tf.shape(tensor)[0] - 1))


def _of_tokens(columns: Mapping[str, Any]) -> np.ndarray:
    """Digests of the token ids of each text, masks and segments included: [N] S32."""
    names = sorted(columns)
    ends = np.asarray(columns[names[0]].row_splits)
    flat = [np.asarray(columns[name].flat_values) for name in names]
    found = []
    for start, end in itertools.pairwise(ends):
        found.append(_digest(b"".join(values[start:end].tobytes() for values in flat)))
    return np.array(found, "S32")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()
