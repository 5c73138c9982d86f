"""Computes the rows that an entry does not have, shard by shard."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.distribute import Workers
from tfl.features.engine import Engine
from tfl.features.frontier import Frontier
from tfl.features.rows import Rows
from tfl.features.shard import numpy_dtype
from tfl.features.store import Entry
from tfl.graphs import reordering

SHARD_ROWS = 256
SHARD_BYTES = 64 << 20
"""A shard is written when it has so many rows, or bytes: what a kill can lose."""


@dataclass
class Filled:
    """What a filling cost."""

    computed: int = 0
    """Rows that were not there."""
    bytes: int = 0
    """That they take on disk."""
    seconds: float = 0.0

    def __add__(self, other: Filled) -> Filled:
        return Filled(self.computed + other.computed, self.bytes + other.bytes, self.seconds + other.seconds)


def fill(
    entry: Entry,
    frontier: Frontier,
    rows: Rows,
    feed: Callable[[list[np.ndarray]], Iterator[list[Any]]],
    engine: Callable[[list[Any]], Engine],
    *,
    workers: Workers,
    dtype: str,
    say: Callable[[str], None],
    advance: Callable[[int], None],
    stop: Callable[[], bool],
) -> Filled:
    """Computes what of `rows` is not in `entry`, each of the `workers` its part, and writes it. Raises `OSError` where the
    disk is full.

    `feed` gives the tensors for each batch of a plan; `engine` makes, from those of the first, what runs on them.
    `advance` is told how many rows were finished; when `stop` says so, the filling ends after the shard it is at.
    """
    done = Filled()
    started = time.perf_counter()
    told = "features: another process computes them; waiting for it"
    with _filling(entry, workers, lambda: say(told), stop) as mine, reordering(False):
        ids, first = np.unique(rows.ids, return_index=True)  # the same example twice is one row
        missing = np.sort(first[entry.find(ids).shard < 0])
        workers.wait()  # all have seen what is there before anybody writes
        plan = rows.plan(np.array_split(missing, workers.count)[workers.index]) if mine else []
        batches = feed(plan)
        run: Engine | None = None
        for shard in _shards(plan, rows, frontier, dtype):
            if stop():
                break
            columns: list[list[np.ndarray]] = [[] for _ in frontier.ragged]
            for positions in shard:
                tensors = next(batches)
                run = run or engine(tensors)
                for column, values in zip(columns, run(tensors), strict=True):
                    column.append(np.asarray(values)[: len(positions)])
            positions = np.concatenate(shard)
            rows.check_unchanged(positions)
            lengths = None if rows.lengths is None or not any(frontier.ragged) else rows.lengths[positions]
            done.bytes += entry.write(rows.ids[positions], _columns(columns, frontier, lengths, dtype), lengths)
            done.computed += len(positions)
            advance(len(positions))
    done.seconds = time.perf_counter() - started
    return done


@contextlib.contextmanager
def _filling(entry: Entry, workers: Workers, wait: Callable[[], None], stop: Callable[[], bool]) -> Iterator[bool]:
    """Within this context nobody but these workers fills the entry. Yields whether that is so; it is not where `stop` said
    so while it waited. Where one worker fails, all do: it with its own error, the others with an `OSError`.
    """
    with entry.filling(wait, stop) if workers.is_chief else contextlib.nullcontext(True) as mine:
        mine = workers.agree(mine)
        if not workers.is_chief:
            entry.open()
        failed: Exception | None = None
        try:
            yield mine
        except Exception as error:  # the others wait for this worker, whatever it is
            failed = error
        if not workers.agree(failed is None):
            raise failed or OSError(errno.EIO, "another worker failed")
    if not workers.is_chief:
        entry.refresh()


def _shards(plan: list[np.ndarray], rows: Rows, frontier: Frontier, dtype: str) -> Iterator[list[np.ndarray]]:
    """The batches of `plan` in the groups that one file holds each."""
    fixed, token = frontier.row_bytes(dtype)
    group: list[np.ndarray] = []
    size = count = 0
    for positions in plan:
        tokens = 0 if rows.lengths is None else int(rows.lengths[positions].sum())
        own = fixed * len(positions) + token * tokens
        if group and (count + len(positions) > SHARD_ROWS or size + own > SHARD_BYTES):
            yield group
            group, size, count = [], 0, 0
        group.append(positions)
        size, count = size + own, count + len(positions)
    if group:
        yield group


def _cast(values: np.ndarray, dtype: str) -> np.ndarray:
    """`values` as `dtype`. Raises `UserError` where one is too large for it."""
    with np.errstate(over="ignore"):
        cast = values.astype(numpy_dtype(dtype))
    if np.isinf(cast).any() and np.isfinite(values).all():
        raise UserError(f"features.dtype: an activation of {np.abs(values).max():.0f} is too large for {dtype}; use float32")
    return cast


def _columns(columns: list[list[np.ndarray]], frontier: Frontier, lengths: np.ndarray | None, dtype: str) -> dict[str, Any]:
    """What a shard holds under the names that a batch has, in `dtype`; texts cut to their own length."""
    result: dict[str, Any] = {}
    for place, (parts, ragged) in enumerate(zip(columns, frontier.ragged, strict=True)):
        if parts[0].dtype == np.float32 and dtype != "float32":
            parts = [_cast(part, dtype) for part in parts]
        if ragged:
            assert lengths is not None
            each = [row for part in parts for row in part]
            result[f"frozen_{place}"] = [row[:length] for row, length in zip(each, lengths, strict=True)]
        else:
            result[f"frozen_{place}"] = np.concatenate(parts)
    return result
