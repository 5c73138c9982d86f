"""Everything that a run needs, tried without training: data, weights, what would train, time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl import models
from tfl.cut import Part
from tfl.features.words import size
from tfl.lazy import tf
from tfl.methods import finetune
from tfl.methods.folds import folds_of
from tfl.methods.session import Session
from tfl.phases import Phase, in_words
from tfl.step import Stepper
from tfl.training import Supervised

STEPS = 3
"""Steps that are timed, after one that is not (it traces)."""


@dataclass(frozen=True, kw_only=True)
class PhaseCheck:
    """What one phase would train and cost."""

    phase: Phase
    blocks: tuple[str, ...]
    trainable_parameters: int
    seconds_a_step: float
    steps: int
    """An epoch."""
    features: str
    """What computing the frozen part once would take: seconds, and bytes on disk."""
    seconds_once: float


def check(config: finetune.Config) -> Any:
    """Loads the data and the weights of `config` and tries a few steps of each phase; what to print about it.

    Raises `UserError` for all that a run would raise it for. The tried steps change nothing that is kept.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    with Session(config, None) as session:
        splits, backbone = finetune.load(session, config)
        session.config = config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        if config.folds:  # for what it raises: a run would find that out after it has begun
            folds_of(session.tokenised(splits, backbone), config.folds, config.seed)
        checked = list(_phases(session, config, backbone, splits))
    about = "about, without folds" if config.folds else "about"
    table = Table("phase", "trainable", "blocks", "parameters", "features, once", "ms a step", "epochs", about, box=None)
    for number, item in enumerate(checked, start=1):
        table.add_row(
            str(number),
            in_words(item.phase.trainable),
            f"{item.blocks[0]} … {item.blocks[-1]}" if item.blocks else "–",
            f"{item.trainable_parameters:,}",
            item.features,
            f"{item.seconds_a_step * 1000:,.0f}",
            str(item.phase.epochs),
            f"{item.seconds_once + item.seconds_a_step * item.steps * item.phase.epochs:,.0f} s",
        )
    weights = backbone.weights
    lines = [
        f"backbone: {backbone.name}, {backbone.model.count_params():,} parameters, {weights.origin}: "
        f"{len(weights.loaded)} layers loaded, {len(weights.missing)} not",
        f"memory: {_peak():,.0f} MB at most so far; evaluation and validation come on top of the time below",
    ]
    if config.folds:
        lines.append(f"folds: {config.folds} trainings come on top of the one below, each on the examples outside its fold")
    return Group(*(Text(line) for line in lines), table, Text("all that training needs is there"))


def _phases(session: Session, config: Any, backbone: Any, splits: Any) -> Iterator[PhaseCheck]:
    model, made = finetune.assemble(session, config, backbone, splits)
    validation = session.batches(backbone, splits.validation)
    for number, phase in enumerate(config.phases):
        session.declare(model, backbone, phase)
        stream = session.batches(backbone, splits.train, training=True, number=number)
        request = session.request(phase, backbone, model, stream, validation)
        job, why = session.extractor.plan(request)
        rest, data, once = request.cut, stream.epoch(), 0.0
        if job is not None:
            rest = job.frontier.rest
            batch, seconds = _extracted(job.frontier.part, rest.names, next(iter(data)))
            data, once = tf.data.Dataset.from_tensors(batch), seconds / len(batch["index"]) * job.missing()
        with session.strategy.scope():
            groups = models.groups(model, backbone, phase)
            step = Stepper(rest, Supervised(made), groups, phase, len(stream), session.strategy)
        iterators = {"train": iter(session.strategy.experimental_distribute_dataset(data.repeat()))}
        yield PhaseCheck(
            phase=phase,
            blocks=tuple(backbone.trainable),
            trainable_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            seconds_a_step=_seconds(lambda step=step, iterators=iterators: step(iterators)),  # type: ignore[misc]
            steps=len(stream),
            features=f"none: {why}" if job is None else f"{once:,.0f} s, {size(job.needed())}",
            seconds_once=once,
        )


def _extracted(part: Part, names: Sequence[str], batch: Mapping[str, Any]) -> tuple[dict[str, Any], float]:
    """`batch` with the activations that would be stored in place of the inputs, and the seconds that computing them takes."""
    function = tf.function(lambda tensors: part(tensors, training=False), autograph=False)
    tensors = [batch[name] for name in part.names]
    values = function(tensors)
    rest = {name: tensor for name, tensor in batch.items() if name not in part.names}
    return {**rest, **dict(zip(names, values, strict=True))}, _seconds(lambda: function(tensors))


def _seconds(call: Callable[[], Any]) -> float:
    """The median time of a few calls, after one that is not counted."""
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:]))


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
