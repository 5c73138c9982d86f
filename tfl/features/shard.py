"""One file of the store: the activations of a few hundred examples, under a name that says what must be in it.

A shard is a safetensors file, `<digest of its rows' ids>-<digest of its bytes>.safetensors`. It is written under another
name and renamed when it is whole. What it holds is fixed by its rows, so that a shard filled again is the same file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import sealed
from tfl.sealed import Damaged

SUFFIX = ".safetensors"
IDS, LENGTHS = "ids", "lengths"
ID = 32
"""Bytes of the id of a row."""


@dataclass(frozen=True)
class Column:
    """Where the values of one tensor lie in a file."""

    dtype: str
    row: tuple[int, ...]
    """Shape of a row, without the axis of tokens."""
    ragged: bool
    """Whether a row has an axis of tokens, as long as the example's own text."""
    offset: int
    """Bytes from the beginning of the file."""

    @property
    def step(self) -> int:
        """Bytes of a row or, where it is ragged, of one of its tokens."""
        return int(np.prod(self.row, dtype=np.int64)) * numpy_dtype(self.dtype).itemsize


@dataclass(frozen=True, eq=False)
class Shard:
    """What the header of a file says, and its rows' ids."""

    path: Path
    ids: np.ndarray
    """[n] S32"""
    starts: np.ndarray
    """[n + 1] int64: tokens before each row, where there are ragged columns; else rows."""
    columns: dict[str, Column]

    @property
    def form(self) -> tuple[Any, ...]:
        """What a row is, wherever it lies: the same in all shards of an entry."""
        return tuple(sorted((name, column.dtype, column.row, column.ragged) for name, column in self.columns.items()))


def numpy_dtype(name: str) -> np.dtype:
    """The dtype called `name`, bfloat16 included."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def write(folder: Path, ids: np.ndarray, columns: Mapping[str, Any], lengths: np.ndarray | None) -> Path:
    """Writes the rows `ids` ([n] S32) and returns their file; it is there as a whole or not at all.

    `columns`: `[n, …]` each or, where the row has an axis of tokens, a list of n arrays `[length, …]` of `lengths` ([n]).
    Raises `OSError` where the disk is full; nothing is left behind then.
    """
    tensors: dict[str, np.ndarray] = {IDS: np.ascontiguousarray(ids).view(np.uint8).reshape(len(ids), ID)}
    about: dict[str, Any] = {}
    if lengths is not None:
        tensors[LENGTHS] = np.ascontiguousarray(lengths, np.int32)
    for name, values in columns.items():
        ragged = isinstance(values, list)
        array = np.ascontiguousarray(np.concatenate(values) if ragged else values)
        about[name] = {"dtype": array.dtype.name, "ragged": ragged}
        tensors[name] = array.view(np.uint16) if array.dtype.name == "bfloat16" else array
    columns_of = {"columns": json.dumps(about, sort_keys=True)}
    # Not synced: what a power cut takes is found by the digest.
    return sealed.write(folder, sealed.digest_of(tensors[IDS].tobytes()), SUFFIX, tensors, columns_of)


def read(path: Path) -> Shard:
    """What the file at `path` holds: its rows' ids are those of its name; the rest is to be trusted after `sealed.check`.

    Raises `Damaged` where it is no shard.
    """
    try:
        with path.open("rb") as file:
            size, whole = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
            if size > whole:
                raise Damaged(f"{path}: not a shard of features: its header would be longer than the file")
            header = json.loads(file.read(size))
            about = json.loads(header.pop("__metadata__")["columns"])

            def load(name: str, dtype: Any) -> np.ndarray:
                begin, end = header[name]["data_offsets"]
                if not 0 <= begin <= end <= whole:
                    raise Damaged(f"{path}: not a shard of features: {name} would lie outside of the file")
                file.seek(8 + size + begin)
                return np.frombuffer(file.read(end - begin), dtype)

            ids = load(IDS, f"S{ID}")
            if sealed.digest_of(ids.tobytes()) != path.stem.partition("-")[0]:
                raise Damaged(f"{path}: its rows are not those that were written")
            lengths = load(LENGTHS, np.int32) if LENGTHS in header else np.ones(len(ids), np.int32)
        columns = {
            name: Column(item["dtype"], tuple(own["shape"][1:]), item["ragged"], 8 + size + own["data_offsets"][0])
            for name, item in about.items()
            for own in (header[name],)
        }
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path}: not a shard of features: {error}") from error
    return Shard(path, ids, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), columns)
