"""Everything that a run needs, tried without training: data, weights, what would train, time and memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl import models
from tfl.cut import cut
from tfl.methods import finetune
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


def check(config: finetune.Config) -> Any:
    """Loads the data and the weights of `config` and tries a few steps of each phase; what to print about it.

    Raises `UserError` for all that a run would raise it for. The tried steps change nothing that is kept.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    with Session(config, None) as session:
        splits = session.stage("data", finetune.data.load, config.data, config.seed)
        session.describe(splits)
        backbone = session.stage("weights", finetune.load_backbone, session, config)
        finetune.check_modality(splits.modality, backbone.name, backbone.modality)
        session.config = config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        checked = list(_phases(session, config, backbone, splits))
    table = Table("phase", "trainable", "blocks", "parameters", "ms a step", "epochs", "about", box=None)
    for number, item in enumerate(checked, start=1):
        table.add_row(
            str(number),
            in_words(item.phase.trainable),
            f"{item.blocks[0]} … {item.blocks[-1]}" if item.blocks else "–",
            f"{item.trainable_parameters:,}",
            f"{item.seconds_a_step * 1000:,.0f}",
            str(item.phase.epochs),
            f"{item.seconds_a_step * item.steps * item.phase.epochs:,.0f} s",
        )
    weights = backbone.weights
    lines = [
        f"backbone: {backbone.name}, {backbone.model.count_params():,} parameters, {weights.origin}: "
        f"{len(weights.loaded)} layers loaded, {len(weights.missing)} not",
        f"memory: {_peak():,.0f} MB at most so far; evaluation and validation come on top of the time below",
    ]
    return Group(*(Text(line) for line in lines), table, Text("all that training needs is there"))


def _phases(session: Session, config: Any, backbone: Any, splits: Any) -> Iterator[PhaseCheck]:
    model, made = finetune.assemble(session, config, backbone, splits)
    for number, phase in enumerate(config.phases):
        session.declare(model, backbone, phase)
        stream = session.batches(backbone, splits.train, training=True, number=number)
        with session.strategy.scope():
            groups = models.groups(model, backbone, phase)
            step = Stepper(cut(model), Supervised(made), groups, phase, len(stream), session.strategy)
        data = {"train": iter(session.strategy.experimental_distribute_dataset(stream.epoch().repeat()))}
        seconds = []
        for _ in range(STEPS + 1):
            start = time.perf_counter()
            step(data)
            seconds.append(time.perf_counter() - start)
        yield PhaseCheck(
            phase=phase,
            blocks=tuple(backbone.trainable),
            trainable_parameters=sum(int(np.prod(v.shape)) for v in model.trainable_variables),
            seconds_a_step=float(np.median(seconds[1:])),
            steps=len(stream),
        )


def _peak() -> float:
    """The most memory that this process has had, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
