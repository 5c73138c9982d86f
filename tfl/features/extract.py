"""From a cut and the batches of its splits to what runs on stored activations: the frozen part once, then the rest."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfl.backbones.blocks import Block
from tfl.config import UserError
from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.data.pipeline import ImageBatches
from tfl.distribute import Workers, alone
from tfl.features.config import Features
from tfl.features.fill import Filled
from tfl.features.frontier import Frontier, frontiers
from tfl.features.job import Job, Progress
from tfl.features.rows import Rows
from tfl.features.store import Store
from tfl.features.words import size

REMEMBERED = 4
"""Extractions from which a later one may go on; each keeps its entries from being cleared away."""
SPLITS = 8
"""Splits whose rows' ids are remembered."""


@dataclass(frozen=True, kw_only=True)
class Extracted:
    """What a phase, or an evaluation, runs on."""

    cut: Cut
    streams: Mapping[str, Batches]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For the report: up to which block activations are stored, what was computed and read, or why nothing is stored."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be extracted."""

    cut: Cut
    blocks: Sequence[Block]
    """Those of the backbone, where the cut may go lower if the disk budget asks for it."""
    streams: Mapping[str, Batches]
    backbone: str = ""
    """Its name, for people."""
    views: int | None = None
    """Augmented ones of the examples of training streams; None: the examples as they are."""
    exact: bool = False
    """Whether a prediction is made of it: by TensorFlow, in float32."""
    once: bool = False
    """Whether the streams are passed over a single time, so that it does not pay to hold rows in memory."""


class Extractor:
    """Extracts features by way of one store."""

    def __init__(
        self,
        config: Features | None,
        *,
        say: Callable[[str], None],
        progress: Progress = lambda what, total: contextlib.nullcontext(lambda count: None),
        stop: Callable[[], bool] = lambda: False,
        workers: Workers | None = None,
    ) -> None:
        """`workers`: those that extract together; each computes its part of what is not there."""
        self.config = config or Features()
        self.off = config is None
        self.store = Store(Path(self.config.directory).expanduser() if self.config.directory else None, self.config.disk_budget)
        self.say, self.progress, self.stop = say, progress, stop
        self.workers = workers or alone()
        self._rows: list[Rows] = []
        self._finished: list[Job] = []

    def extract(self, request: Request) -> Extracted:
        """The request's streams as batches of stored activations, and the cut that takes them; or both as they are, where
        nothing is to be stored or can be. What the store does not have is computed.
        """
        try:
            job, why = self.plan(request)
            if job is None:
                return _as_it_is(request, why)
            self.store.make_room(job.needed())
            filled = job.fill(self.say, self.progress, self.stop)
            if not self.workers.agree(not (self.stop() and job.missing())):
                return _as_it_is(request, "interrupted")
            own = [one for one in self._finished if one.frontier.shares(job.frontier)]
            self._finished = [*own[1 - REMEMBERED :], job]
            return self._done(job, filled)
        except OSError as error:
            reason = error.strerror or str(error)
            if self.workers.count > 1:  # the others wait for this one: it cannot go on in its own way
                raise UserError(
                    f"features: the store in {self.store.root} cannot be written ({reason}); make room, name another "
                    f"features.directory, or go without (features=null)"
                ) from error
            self.say(f"features: the store in {self.store.root} cannot be written ({reason}); this goes on without it")
            return _as_it_is(request, f"the store cannot be written: {reason}")

    def forget(self) -> None:
        """Lets go of what was extracted, and of the networks that it is of; the store has it still."""
        self._finished = []

    def find(self, request: Request) -> Extracted:
        """As `extract`, but nothing is computed: the store has all rows, or none is read."""
        with contextlib.suppress(OSError):
            job, _ = self.plan(request)
            if job is not None and job.needed() == 0:
                return self._done(job, [])
        return _as_it_is(request, "the store does not have all of them")

    def plan(self, request: Request) -> tuple[Job | None, str]:
        """What `extract` would do: the job at the highest cut whose rows fit the budget, or None and why not."""
        why = self._why_not(request)
        for frontier in frontiers(request.cut, request.blocks) if not why else ():
            found = frontier.problem() or ("" if frontier.worth_it() else "what is frozen is computed faster than it is read")
            if not found:
                job = self._job(frontier, request)
                if self.workers.agree(self.store.fits(job.needed())):
                    return job, ""
                found = (
                    f"features: the activations of {frontier.name} would take {size(job.needed())}, and the store may have "
                    f"{size(self.store.room())} (features.disk_budget: {self.config.disk_budget})"
                )
                self.say(found)
            why = why or found
        return None, why or "nothing that the backbone computes is frozen"

    def _why_not(self, request: Request) -> str:
        if self.off:
            return "features: null"
        if request.exact and self.config.dtype != "float32":
            return "a prediction is made of float32"
        augments = [one.augment for one in request.streams.values() if isinstance(one, ImageBatches) and one.training]
        if any(augment is not None and augment.mixes for augment in augments):
            return "MixUp and CutMix mix images of a batch, which are new in every epoch"
        return ""

    def _job(self, frontier: Frontier, request: Request) -> Job:
        rows = {name: self._rows_of(batches) for name, batches in request.streams.items()}
        below = [job for job in self._finished if job.frontier.reaches(frontier)]
        return Job(
            self.config,
            self.store,
            frontier,
            request.streams,
            rows,
            views=request.views,
            exact=request.exact,
            once=request.once,
            workers=self.workers,
            backbone=request.backbone,
            below=max(below, key=lambda job: len(job.frontier.part.nodes), default=None),
        )

    def _done(self, job: Job, filled: Sequence[Filled]) -> Extracted:
        cut, streams, facts = job.result(filled)
        if facts["computed"]:
            self.say(
                f"features: up to {facts['stored']}, {facts['computed']} computed by {facts['engine']} in "
                f"{facts['seconds']:.1f} s, {facts['read']} read, {size(facts['bytes'])} more on disk"
            )
        return Extracted(cut=cut, streams=streams, facts=facts)

    def _rows_of(self, batches: Batches) -> Rows:
        """The rows of `batches`; the same object for the same examples, decoded in the same way: ids are found once."""
        found = next((rows for rows in self._rows if rows.serve(batches)), None) or Rows(batches)
        self._rows = [*[rows for rows in self._rows if rows is not found][1 - SPLITS :], found]
        return found


def _as_it_is(request: Request, why: str) -> Extracted:
    return Extracted(cut=request.cut, streams=request.streams, facts={"stored": None, "why": why})
