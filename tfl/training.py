"""The one training loop: written on `tf.distribute`, fed by streams, driven by an objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.checkpoint import Recorder, State, assign, named
from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.distribute import workers
from tfl.interrupt import Interrupt, Terminated
from tfl.lazy import keras, tf
from tfl.models import Group, statistics
from tfl.passes import Passes
from tfl.phases import Phase
from tfl.step import Objective, Stepper
from tfl.tasks import Task

NO_END = 1 << 30
"""More steps than a phase has."""


class Supervised:
    """The sum of the tasks' losses on the stream `train`."""

    def __init__(self, tasks: Mapping[str, Task], label_smoothing: float = 0.0) -> None:
        self.tasks = tasks
        self.label_smoothing = label_smoothing
        self._watched = {name: task.metrics() for name, task in tasks.items()}
        self.metrics: Sequence[Any] = [metric for metrics in self._watched.values() for metric in metrics]

    def __call__(self, model: Cut, batches: Mapping[str, Mapping[str, Any]], step: Any) -> Any:
        """The weighted mean loss of the batch; see `Objective`."""
        batch = batches["train"]
        outputs = model(batch, training=True)
        total = tf.constant(0.0)
        for name, task in self.tasks.items():
            losses = task.loss(task.targets(batch, self.label_smoothing), outputs[name])
            total += tf.reduce_sum(losses * (task.weights(batch) * batch["share"]))  # one product to differentiate, not two
            for metric in self._watched[name]:
                metric.update_state(*task.watch(batch, outputs[name]))
        return total


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What happened in a phase."""

    epochs: tuple[dict[str, float], ...]
    """For each epoch: epoch (from 1), loss, the objective's metrics, the validation's results as val_…, seconds."""
    kept_epoch: int
    """The epoch, from 1, whose weights the model has now; 0 where not one was finished."""
    stopped: str
    """completed | early stopping | interrupted"""
    seconds: float
    examples_per_second: float
    """Training examples a second, without validation."""
    waiting: float
    """Part of the training time, 0 to 1, that was spent waiting for data."""


def fit_phase(
    model: Cut,
    streams: Mapping[str, Batches],
    objective: Objective,
    groups: Sequence[Group],
    phase: Phase,
    *,
    strategy: Any,
    validate: Callable[[], dict[str, float]] | None = None,
    callbacks: Sequence[Any] = (),
    interrupt: Interrupt | None = None,
    recorder: Recorder | None = None,
    start: State | None = None,
) -> Fit:
    """Trains the variables in `groups` for one phase and leaves the model with the weights of the epoch it keeps.

    An epoch is one pass over the first of `streams`; the others start anew when they end. `validate` gives the results
    of the validation split, a loss and perhaps an accuracy, which decide what is best. `callbacks` are Keras callbacks
    and get the whole model. `recorder` writes checkpoints; `start` is the loop's state in one of them, for a model that
    has its weights: what comes out is what would have come out without the break.

    Raises `UserError` where the loss is not a finite number, naming the step, and `Terminated` where the process is asked
    to end.
    """
    with strategy.scope():
        stepper = Stepper(model, objective, groups, phase, len(next(iter(streams.values()))), strategy)
    loop = _Loop(stepper, streams, phase, callbacks, interrupt or Interrupt(), recorder)
    if start is not None:
        loop.restore(start)
    return loop.run(validate)


class _Loop:
    """A phase while it trains. Its state can be taken and put back between any two steps."""

    def __init__(
        self,
        stepper: Stepper,
        streams: Mapping[str, Batches],
        phase: Phase,
        callbacks: Sequence[Any],
        interrupt: Interrupt,
        recorder: Recorder | None,
    ) -> None:
        self.stepper, self.phase, self.interrupt, self.recorder = stepper, phase, interrupt, recorder
        self.model, self.objective = stepper.model, stepper.objective
        self.workers = workers(stepper.strategy)
        self.keeper = Keeper(phase, stepper)
        self.watchers = keras.callbacks.CallbackList(list(callbacks), model=self.model.model)
        self.passes = Passes(stepper, streams, self.watchers, interrupt, callbacks)
        self.history: list[dict[str, float]] = []
        self._before, self._started = 0.0, time.perf_counter()

    def run(self, validate: Callable[[], dict[str, float]] | None) -> Fit:
        """Trains from where the phase is to its end."""
        self.model.model.stop_training = False
        stopped = "completed"
        self.watchers.on_train_begin()
        try:
            while len(self.history) < self.phase.epochs and stopped == "completed":
                stopped = self._epoch(len(self.history), validate)
        except BaseException:
            self.watchers.on_train_end()  # closes bars and files
            raise
        self.keeper.restore()
        self.watchers.on_train_end()
        seconds = max(self.passes.seconds, 1e-9)
        return Fit(
            epochs=tuple(self.history),
            kept_epoch=self.keeper.kept_epoch,
            stopped=stopped,
            seconds=self._seconds,
            examples_per_second=self.passes.examples / seconds,
            waiting=self.passes.waiting / seconds,
        )

    def _epoch(self, epoch: int, validate: Callable[[], dict[str, float]] | None) -> str:
        """Trains what is left of an epoch; says whether the phase is "completed" with it, or why it ends here."""
        self.watchers.on_epoch_begin(epoch)
        if not self.passes.losses:
            for metric in self.objective.metrics:
                metric.reset_state()
        began = time.perf_counter()
        loss = self.passes.train(epoch, self._room, self._after)
        self._add_up()
        logs = {"loss": loss, **{metric.name: float(metric.result()) for metric in self.objective.metrics}}
        watched = self._is_watched(epoch + 1)
        if watched:
            logs |= self._look(epoch + 1, logs, validate)
        self.history.append({"epoch": epoch + 1, **logs, "seconds": time.perf_counter() - began})
        self.watchers.on_epoch_end(epoch, logs)
        stopped = self._why_it_ends()
        if stopped != "completed" and not watched:
            self.history[-1] |= self._look(epoch + 1, logs, validate)
        return stopped

    def _look(self, epoch: int, logs: Mapping[str, float], validate: Callable[[], dict[str, float]] | None) -> dict[str, float]:
        """The validation's results after `epoch`, from 1, as val_…; the epoch is kept if it is to be."""
        with self.stepper.averaged():
            found = validate() if validate else {}
            self.keeper.offer(epoch, found or logs)
        return {f"val_{name}": value for name, value in found.items()}

    def _why_it_ends(self) -> str:
        """Why the phase ends with the epoch that is done; "completed" where nothing ends it before its time."""
        self.interrupt.settle(self.workers.most, self.workers.count > 1)
        if self.interrupt.wanted:
            return "interrupted"
        stop = self.keeper.waited_enough or self.model.model.stop_training
        return "early stopping" if not self.workers.agree(not stop) else "completed"

    def _is_watched(self, epoch: int) -> bool:
        """Whether `epoch`, from 1, is one after which results are taken, and which may be kept; the last one always is."""
        ends = epoch == self.phase.epochs or self.model.model.stop_training or self.interrupt.wanted
        due = epoch == 1 or epoch % self.phase.validate_every == 0
        return due or not self.workers.agree(not ends)

    def _add_up(self) -> None:
        """Makes the metrics those of all workers, each of which has seen its part of every batch."""
        if self.workers.count > 1:
            variables = [variable for metric in self.objective.metrics for variable in metric.variables]
            for variable, value in zip(variables, self.workers.total([one.numpy() for one in variables]), strict=True):
                variable.assign(value)

    def _room(self) -> int:
        return self.recorder.room if self.recorder is not None else NO_END

    def _after(self, steps: int) -> None:
        """After a call of so many steps: a checkpoint where one is due, or the process is asked to end; for all workers."""
        due = self.recorder is not None and self.recorder.passed(steps)
        due = bool(self.workers.most([due])[0])
        self.interrupt.settle(self.workers.most, self.workers.count > 1)
        if self.recorder is not None and (due or self.interrupt.terminated):
            self.recorder.write(self.state(self.recorder), wait=self.interrupt.terminated)
        if self.interrupt.terminated:
            raise Terminated

    # --- where it is --------------------------------------------------------------------------------------------------

    @property
    def _seconds(self) -> float:
        return self._before + time.perf_counter() - self._started

    def _variables(self) -> dict[str, Any]:
        """What a step or an epoch changes, beside the model."""
        found = named(self.stepper.shadows, "average/") | named([self.stepper.step], "step/")
        for place, optimizer in enumerate(self.stepper.optimizers):
            found |= named(optimizer.variables, f"optimizer/{place}/")
        for place, metric in enumerate(self.objective.metrics):
            found |= named(metric.variables, f"metric/{place}/")
        return found

    def state(self, recorder: Recorder) -> State:
        """Where the phase is, between two steps, for `recorder` to write; all but the model's own variables."""
        arrays = recorder.copied(self._variables())
        seen = [name for name in arrays if name.startswith("metric/")]
        arrays |= dict(zip(seen, self.workers.total([arrays[name] for name in seen]), strict=True))
        arrays |= {f"kept/{place}": value for place, value in enumerate(self.keeper.values)}
        about = {
            "losses": list(self.passes.losses),
            "history": list(self.history),
            "best": [self.keeper.kept_epoch, self.keeper.waited, *self.keeper.best],
            "took": [self._seconds, self.passes.seconds, self.passes.waiting, self.passes.examples],
        }
        return State(about=about, arrays=arrays)

    def restore(self, state: State) -> None:
        """Puts the phase where it was."""
        kept = state.under("kept/")
        assign(self._variables(), {name: value for name, value in state.arrays.items() if not name.startswith("kept/")})
        if not self.workers.is_chief:  # what all had seen is counted once
            for metric in self.objective.metrics:
                metric.reset_state()
        self.keeper.values = [kept[str(place)] for place in range(len(kept))]
        about = state.about
        self.passes.losses, self.history = list(about["losses"]), list(about["history"])
        self.keeper.kept_epoch, self.keeper.waited, *best = about["best"]
        self.keeper.best = (best[0], best[1])
        self._before, self.passes.seconds, self.passes.waiting, self.passes.examples = about["took"]


class Keeper:
    """Remembers the weights of the epoch that a phase keeps."""

    def __init__(self, phase: Phase, stepper: Stepper) -> None:
        self.phase, self.stepper = phase, stepper
        self.kept_epoch, self.best = 0, (-float("inf"), -float("inf"))
        self.waited = 0
        """Epochs offered since the best one."""
        self.values: list[np.ndarray] = []
        """Of what the phase changes, as they are to be in the end; empty where no epoch was finished."""

    def offer(self, epoch: int, results: Mapping[str, float]) -> None:
        """Takes the weights as they are after `epoch`, if that epoch is to be kept rather than those before.

        `results` has a loss and may have an accuracy (of several labels: that of single ones), which counts first; of equals,
        the lower loss is better.
        """
        loss = results["loss"]
        score = (results.get("accuracy", results.get("label_accuracy", 0.0)), -float("inf") if np.isnan(loss) else -loss)
        better = score > self.best
        self.best, self.waited = (score, 0) if better else (self.best, self.waited + 1)
        if better or self.phase.keep == "last":
            self.kept_epoch = epoch
            model = self.stepper.model.model
            self.values = [variable.numpy() for variable in _state(model, self.stepper.variables)]

    @property
    def waited_enough(self) -> bool:
        """Whether early stopping ends the phase."""
        patience = self.phase.early_stopping
        return patience is not None and self.waited >= patience

    def restore(self) -> None:
        """Gives the model the weights of the kept epoch."""
        if self.values:
            for variable, value in zip(_state(self.stepper.model.model, self.stepper.variables), self.values, strict=True):
                variable.assign(value)


def _state(model: Any, trained: Sequence[Any]) -> list[Any]:
    """What a phase changes: the variables it trains and the statistics of layers that train."""
    return [*trained, *statistics(model)]
