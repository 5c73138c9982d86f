"""One extraction: a frontier, the rows of some splits, and the entries of the store that they are in."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

import numpy as np

from tfl.cut import Cut, Part
from tfl.data.batches import Batches
from tfl.data.examples import Columns
from tfl.distribute import Workers, alone
from tfl.features import engine as engines
from tfl.features import key
from tfl.features.batches import FeatureBatches, Reader, View
from tfl.features.config import Features
from tfl.features.engine import Engine
from tfl.features.fill import Filled, fill
from tfl.features.frontier import Frontier
from tfl.features.held import HeldBatches, hold
from tfl.features.rows import Rows
from tfl.features.store import Entry, Store

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""`(what, how many in all)`, and within the context a call for so many more that are done."""

MANY = 1000
"""Rows from which on OpenVINO pays: converting a model takes seconds."""
IN_MEMORY = 64 << 20
"""Bytes of all rows of an extraction up to which they are held in memory."""


class _Unfit(Exception):
    """The frozen part cannot be run by the engine that the rows are looked up under."""


class Job:
    """One extraction: a frontier, the streams, and the entries of the store that their rows are in."""

    def __init__(
        self,
        config: Features,
        store: Store,
        frontier: Frontier,
        streams: Mapping[str, Batches],
        rows: Mapping[str, Rows],
        *,
        views: int | None,
        exact: bool,
        once: bool,
        workers: Workers,
        backbone: str = "",
        below: Job | None = None,
    ) -> None:
        self.backbone, self._below, self.workers, self.once = backbone, below, workers, once
        self.config, self.store, self.frontier, self.streams, self.rows = config, store, frontier, streams, rows
        self.of_part = key.of_part(frontier.part)
        self.views: dict[str, list[int | None]] = {
            name: [None] if views is None or not one.training else list(range(views)) for name, one in streams.items()
        }
        self._entries: dict[str, Entry] = {}
        self._known: dict[tuple[int, int | None, str], Entry] = {}
        self._made: dict[int, Engine] = {}
        self.engine = self._choose_engine(exact)

    def _choose_engine(self, exact: bool) -> str:
        """What rows are looked up under; with `auto`, the engine that has more of them, or else the one that pays."""
        wanted = "tensorflow" if exact else engines.choose(self.config.engine)
        if wanted == "tensorflow" or self.config.engine != "auto":
            return wanted
        if self.workers.count > 1:  # each would have to come to the same choice
            return "tensorflow"
        missing = {}
        for engine in ("tensorflow", wanted):
            self.engine = engine
            missing[engine] = self.missing()
        if missing["tensorflow"] != missing[wanted]:
            return min(missing, key=lambda engine: missing[engine])
        return wanted if missing[wanted] >= MANY else "tensorflow"

    def entry(self, rows: Rows, view: int | None) -> Entry:
        """Where rows of one view are."""
        known = self._known.get((id(rows), view, self.engine))
        if known is None:
            known = self._known[id(rows), view, self.engine] = self._find_entry(rows, view, self._batches_of(rows))
        return known

    def _find_entry(self, rows: Rows, view: int | None, batches: Batches) -> Entry:
        config = self.config
        made = {
            **self.of_part,
            "rows": rows.describe(batches, view, config.view_seed),
            "dtype": config.dtype,
            "environment": key.of_environment(self.engine, engines.version(self.engine)),
        }
        name = key.key_of(made)
        if name not in self._entries:
            shapes = [[str(size or "tokens") for size in tensor.shape[1:]] for tensor in self.frontier.part.outputs]
            about = {"backbone": self.backbone, "up_to": self.frontier.name, "shapes": shapes, **made}
            self._entries[name] = self.store.entry(name, about)
        return self._entries[name]

    def _batches_of(self, rows: Rows) -> Batches:
        return next(self.streams[name] for name, own in self.rows.items() if own is rows)

    def _each(self) -> list[tuple[Rows, int | None]]:
        return [(rows, view) for name, rows in self.rows.items() for view in self.views[name]]

    def missing(self) -> int:
        """Rows that are not there yet."""
        return sum(int((self.entry(rows, view).find(rows.ids).shard < 0).sum()) for rows, view in self._each())

    def needed(self) -> int:
        """Bytes on disk of what is not there yet."""
        fixed, token = self.frontier.row_bytes(self.config.dtype)
        total = 0
        for rows, view in self._each():
            missing = self.entry(rows, view).find(rows.ids).shard < 0
            tokens = 0 if rows.lengths is None else int(rows.lengths[missing].sum())
            total += fixed * int(missing.sum()) + token * tokens
        return total

    def fill(self, say: Callable[[str], None], progress: Progress, stop: Callable[[], bool]) -> list[Filled]:
        """Computes what is not there; by TensorFlow, if the engine that was asked for cannot do it.

        Raises `OSError` where the disk is full.
        """
        try:
            while True:
                try:
                    return [self._fill(rows, view, say, progress, stop) for rows, view in self._each()]
                except _Unfit:
                    self.engine = "tensorflow"
        finally:
            self._made.clear()  # graphs that hold weights as they were

    def _fill(
        self, rows: Rows, view: int | None, say: Callable[[str], None], progress: Progress, stop: Callable[[], bool]
    ) -> Filled:
        entry = self.entry(rows, view)
        if entry.damaged:
            say(f"features: {entry.damaged} damaged files found in {entry.folder}; what they held is computed again")
            entry.damaged = 0
        missing = int(self.workers.most([(entry.find(rows.ids).shard < 0).sum()])[0])
        if not missing:
            return Filled()
        below = self._rows_below(rows, view)
        part = self.frontier.part if below is None else self._above
        seed, dtype = self.config.view_seed, self.config.dtype

        def feed(plan: Sequence[np.ndarray]) -> Iterator[list[Any]]:
            return (
                rows.compute(self._batches_of(rows), plan, part.names, view, seed) if below is None else rows.read(plan, below)
            )

        def run(tensors: list[Any]) -> Engine:
            return self._run(part, say, tensors)

        with progress("features", missing) as advance:
            common: dict[str, Any] = {"dtype": dtype, "say": say, "advance": advance, "stop": stop}
            filled = fill(entry, self.frontier, rows, feed, run, workers=self.workers, **common)
            goes_on = self.workers.count > 1 and self.workers.agree(not stop())
            if goes_on and (entry.find(rows.ids).shard < 0).any():  # they do not share a store
                filled += fill(entry, self.frontier, rows, feed, run, workers=alone(), **common)
            return filled

    def _rows_below(self, rows: Rows, view: int | None) -> Reader | None:
        """The same rows at a lower cut, to go on from in place of the images or texts; None where they are not there.

        TensorFlow's values for images are the same bits on either way. OpenVINO merges operations across a cut, and texts
        differ in the last bit, so these are computed from the beginning.
        """
        below = self._below
        if below is None or (self.engine, below.engine, self.config.dtype) != ("tensorflow", "tensorflow", "float32"):
            return None
        if rows.lengths is not None:
            return None
        if key.of_part(below.frontier.part) != below.of_part:  # it has been trained since
            return None
        entry = below._find_entry(rows, view, self._batches_of(rows))  # with this job's own augmentation and preprocessing
        place = entry.find(rows.ids)
        return Reader(View(entry, place), None, below.frontier.dtypes) if (place.shard >= 0).all() else None

    @cached_property
    def _above(self) -> Part:
        """What lies between the lower extraction and this one."""
        assert self._below is not None
        return self._below.frontier.up_to(self.frontier)

    def _run(self, part: Part, say: Callable[[str], None], tensors: list[Any]) -> Engine:
        """What runs `part` on tensors like these; made once."""
        made = self._made.get(id(part))
        if made is None:
            asked = self.config.engine if self.engine == "openvino" else "tensorflow"
            run = functools.partial(part, training=False)
            made = self._made[id(part)] = engines.make(run, tensors, asked, say, part.variables)
        if made.name != self.engine:
            raise _Unfit(self.engine)
        return made

    def result(self, filled: Sequence[Filled] = ()) -> tuple[Cut, dict[str, Batches], dict[str, Any]]:
        """The cut that takes the streams, which are read from the entries, and what a report says of them."""
        readers = {name: self._readers(name, rows) for name, rows in self.rows.items()}
        computed = sum(one.computed for one in filled)
        facts = {
            "stored": self.frontier.name,
            "engine": self.engine,
            "views": max(len(views) for views in self.views.values()),
            "computed": computed,
            "read": sum(len(rows.ids) for rows, _ in self._each()) - computed,
            "bytes": sum(one.bytes for one in filled),
            "seconds": sum(one.seconds for one in filled),
        }
        if self._can_be_held(readers):
            cut, starts = hold(self.frontier.rest, readers)
            return cut, {name: HeldBatches(starts=starts[name], **self._common(name)) for name in self.rows}, facts
        streams: dict[str, Batches] = {}
        for name in self.rows:
            streams[name] = FeatureBatches(
                readers=readers[name],
                **self._common(name),
            )
        return self.frontier.rest, streams, facts

    def _can_be_held(self, readers: Mapping[str, Sequence[Reader]]) -> bool:
        """Whether rows are kept in memory: they are few, read more than once, and a TPU has no part in it."""
        if self.once or any(batches.static for batches in self.streams.values()):
            return False
        sizes = [(reader.row_bytes, len(reader)) for own in readers.values() for reader in own]
        return all(size is not None for size, _ in sizes) and sum((size or 0) * count for size, count in sizes) <= IN_MEMORY

    def _readers(self, name: str, rows: Rows) -> tuple[Reader, ...]:
        """What reads each view of a stream."""
        lengths = rows.lengths if any(self.frontier.ragged) else None
        longest = int(lengths.max()) if lengths is not None and self.streams[name].static else None
        found = []
        for view in self.views[name]:
            entry = self.entry(rows, view)
            place = entry.find(rows.ids)
            if (place.shard < 0).any():
                raise OSError("features that were just written are not there; something else clears the store")
            found.append(Reader(View(entry, place), lengths, self.frontier.dtypes, longest))
        return tuple(found)

    def _common(self, name: str) -> dict[str, Any]:
        """What batches of a stream have, wherever its rows are."""
        batches = self.streams[name]
        examples, max_tokens = batches.examples, getattr(batches, "max_tokens", None)
        # Pooled texts are all of one size; but the tokens of a batch are bounded whether its features are stored or not.
        by_length = any(self.frontier.ragged) or max_tokens is not None
        return {
            "lengths": self.rows[name].lengths if by_length else None,
            "max_tokens": max_tokens,
            "examples": Columns(ids=examples.ids, inputs={}, labels=examples.labels, digests=examples.digests),
            "batch_size": batches.batch_size,
            "training": batches.training,
            "seed": batches.seed,
            "replicas": batches.replicas,
            "static": batches.static,
        }
