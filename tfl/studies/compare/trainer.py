"""What runs the trials of a comparison: on data that is split once, each from its own first bits."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfl import backbones, predict
from tfl.backbones import Backbone
from tfl.config import UserError, plain
from tfl.data.splits import Splits
from tfl.lazy import keras
from tfl.methods import finetune
from tfl.methods.loading import Start
from tfl.methods.session import Session
from tfl.phases import Phase
from tfl.report import PhaseReport
from tfl.studies.compare import recipes
from tfl.studies.compare.plan import SCRATCH, Plan
from tfl.studies.compare.subsets import Labels, fitting, subset
from tfl.studies.compare.trial import Trial, curve_of


class Trainer:
    """Trains a method on a nested subset. All trials share the validation and the test split, and the store."""

    def __init__(self, session: Session, config: finetune.Config, plan: Plan, source: Any = None) -> None:
        """Loads what `config` names; `source`: data given in Python. Raises `UserError` where nothing can be compared on it."""
        self.session, self.config = session, dataclasses.replace(config, folds=0, checkpoints=None)
        self.splits, backbone = finetune.load(session, self.config, source)
        _check(self.splits)
        self._start = Start.of(backbone)
        self.fingerprint = f"{self.splits.fingerprint} {backbone.weights.sha256}"
        self.plan = plan.fitted(fitting(plan.labels, self.splits.class_counts["train"], plan.labels_chosen))
        self._modality, self._blocks = backbone.modality, len(backbone.blocks)
        self._subset: tuple[tuple[Labels, int], Splits] | None = None

    def phases(self, method: str) -> tuple[Phase, ...]:
        """Those of `method`, before they are brought to the budget."""
        return recipes.phases_of(method, self._modality, self._blocks, self.config.phases)

    def run(self, method: str, labels: Labels, seed: int) -> Trial | None:
        """Trains `method` on so many `labels` a class; None where it was interrupted.

        `seed` decides the subset, which all methods share, and the order, augmentation, dropout and first weights.
        """
        splits, session = self._splits(labels, seed), self.session
        config = self._config(method, splits, seed)
        backbone = self._backbone(config, method)
        session.config = config = finetune.resolve(config, backbone.modality, len(backbone.blocks), len(splits.train))
        steps = len(session.batches(backbone, splits.train, training=True))
        config, clock = self._budgeted(config, steps)
        keras.utils.set_random_seed(seed)
        session.config = config
        model, made = finetune.assemble(session, config, backbone, splits)
        finetune.try_phases(session, config, backbone, model)
        finetune.declare(session, config, model, backbone, 0, config.phases[0])
        logits = session.logits(model, backbone, splits.validation, exact=False)
        before = predict.Watched(made)(logits, splits.validation.labels)
        started = time.perf_counter()
        clock.start()
        reports = finetune.train(session, config, backbone, model, made, splits, (clock,), quiet=True)
        seconds = time.perf_counter() - started
        if session.interrupt.wanted:
            return None
        ((name, task),) = made.items()
        chosen = np.asarray(task.predictions(session.logits(model, backbone, splits.test, exact=True)[name])).argmax(axis=1)
        return Trial(
            method=method,
            labels=labels,
            seed=seed,
            classes=len(splits.class_names),
            validation=len(splits.validation),
            right=(chosen == splits.test.labels).astype(int).tolist(),
            curve=curve_of(before, reports, steps, clock.seconds),
            seconds=seconds,
            fingerprint=self.fingerprint,
            phases=plain(config.phases),
            **_cost(reports, steps, len(splits.train)),
        )

    def _splits(self, labels: Labels, seed: int) -> Splits:
        """The splits with that subset to train on; the same object for trial after trial on it, so that it is read once."""
        if self._subset is None or self._subset[0] != (labels, seed):
            train = self.splits.train
            assert train.labels is not None
            chosen = train.take(subset(train.ids, train.labels, labels, seed))
            self._subset = (labels, seed), dataclasses.replace(self.splits, train=chosen)
        return self._subset[1]

    def _config(self, method: str, splits: Splits, seed: int) -> finetune.Config:
        """The config of a trial; a batch has no more examples than there are."""
        config = self.config
        data = dataclasses.replace(config.data, batch_size=min(config.data.batch_size, len(splits.train)))
        backbone = backbones.untrained(config.backbone) if method == SCRATCH else config.backbone
        return dataclasses.replace(config, seed=seed, data=data, backbone=backbone, phases=self.phases(method))

    def _budgeted(self, config: finetune.Config, steps: int) -> tuple[finetune.Config, Clock]:
        """`config` brought to the budget, and the clock that ends its phases where that is one of seconds."""
        most = max(len(self.phases(method)) for method in self.plan.methods)
        epochs = recipes.epochs_for(self.plan.updates, steps, most)
        phases, ends = recipes.with_epochs(config.phases, epochs), [math.inf] * len(config.phases)
        if self.plan.budget is not None:
            ends = recipes.deadlines(config.phases, self.plan.budget)
            phases = recipes.with_seconds(config.phases, phases[0].validate_every)
        return dataclasses.replace(config, phases=phases), Clock(ends)

    def _backbone(self, config: finetune.Config, method: str) -> Backbone:
        """That of a trial: random weights by its seed, or the pre-trained ones as they were loaded."""
        if method == SCRATCH:
            return finetune.load_backbone(self.session, config)
        if not self._start.restore():
            self._start = Start.of(finetune.load_backbone(self.session, self.config))
        return self._start.backbone


def _check(splits: Splits) -> None:
    """Raises `UserError` for data on which nothing can be compared."""
    if splits.kind != "classification":
        raise UserError(f"data: labels are for {splits.kind}, but a comparison is of classes: so many labels a class")
    if len(splits.test) < 2 or len(splits.validation) < 2:
        raise UserError("data: a comparison needs at least two validation and two test examples")


def _cost(reports: Sequence[PhaseReport], steps: int, examples: int) -> dict[str, int]:
    """What training took, beside time; an epoch has `steps` updates and `examples`."""
    epochs = sum(len(report.epochs) for report in reports)
    return {
        "examples": examples,
        "updates": steps * epochs,
        "passed": examples * epochs,
        "trained_parameters": max(report.trainable_parameters for report in reports),
        "computed": sum(int(report.features.get("computed", 0)) for report in reports),
    }


class Clock(keras.callbacks.Callback):
    """Counts the seconds that training takes, and ends each phase with the epoch in which its are over.

    What is frozen, and the steps, count. The first step of a phase builds its graph, which takes as long whatever the budget
    is, and validation is for the curve; neither counts.
    """

    def __init__(self, ends: Sequence[float]) -> None:
        """`ends`: of each phase, in seconds from `start` on."""
        super().__init__()
        self._ends = list(ends)
        self._phase, self._spent = -1, 0.0
        self.seconds: list[float] = []
        """From `start` to the end of each epoch."""

    def start(self) -> None:
        """Starts it."""
        self._mark = time.perf_counter()

    def _count(self) -> None:
        now = time.perf_counter()
        self._spent += now - self._mark
        self._mark = now

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """The next phase, after what it leaves frozen was computed or read."""
        self._count()
        self._phase, self._built = self._phase + 1, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Goes on after validation."""
        self._mark = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at it."""
        if self._built:
            self._count()
        self._built, self._mark = True, time.perf_counter()
        if self._spent >= self._ends[self._phase]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes it."""
        self.seconds.append(self._spent)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """What comes now is for the next phase."""
        self._mark = time.perf_counter()
