"""The one training loop: written on `tf.distribute`, fed by streams, driven by an objective."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.cut import Cut
from tfl.data.pipeline import Batches
from tfl.interrupt import Interrupt
from tfl.lazy import keras, tf
from tfl.models import Group, statistics
from tfl.phases import Phase
from tfl.step import Objective, Stepper
from tfl.tasks import Task


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
            total += tf.reduce_sum(losses * task.weights(batch) * batch["share"])
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
) -> Fit:
    """Trains the variables in `groups` for one phase and leaves the model with the weights of the epoch it keeps.

    An epoch is one pass over the first of `streams`; the others start anew when they end. `validate` gives the results
    of the validation split, a loss and perhaps an accuracy, which decide what is best. `callbacks` are Keras callbacks
    and get the whole model. Raises `UserError` where the loss is not a finite number, naming the step.
    """
    started = time.perf_counter()
    with strategy.scope():
        stepper = Stepper(model, objective, groups, phase, len(next(iter(streams.values()))), strategy)
    keeper = Keeper(phase, stepper)
    watchers = keras.callbacks.CallbackList(list(callbacks), model=model.model)
    interrupt = interrupt or Interrupt()
    passes = _Passes(stepper, streams, watchers, interrupt, one_by_one=any(map(_watches_steps, callbacks)))
    model.model.stop_training = False
    history: list[dict[str, float]] = []
    stopped = "completed"
    watchers.on_train_begin()
    for epoch in range(phase.epochs):
        watchers.on_epoch_begin(epoch)
        for metric in objective.metrics:
            metric.reset_state()
        began = time.perf_counter()
        loss = passes.train(epoch)
        if interrupt.wanted and keeper.best_epoch:  # an epoch cut short counts only where there is no whole one
            stopped = "interrupted"
            break
        logs = {"loss": loss, **{metric.name: float(metric.result()) for metric in objective.metrics}}
        with stepper.averaged():
            validation = validate() if validate else {}
            logs |= {f"val_{name}": value for name, value in validation.items()}
            keeper.offer(epoch + 1, validation or logs)
        history.append({"epoch": epoch + 1, **logs, "seconds": time.perf_counter() - began})
        watchers.on_epoch_end(epoch, logs)
        if interrupt.wanted:
            stopped = "interrupted"
            break
        if keeper.waited_enough(epoch + 1) or model.model.stop_training:
            stopped = "early stopping"
            break
    keeper.restore()
    watchers.on_train_end()
    return Fit(
        epochs=tuple(history),
        kept_epoch=keeper.best_epoch,
        stopped=stopped,
        seconds=time.perf_counter() - started,
        examples_per_second=passes.examples / max(passes.seconds, 1e-9),
        waiting=passes.waiting / max(passes.seconds, 1e-9),
    )


class _Passes:
    """Passes over the training examples, and what they took together."""

    def __init__(
        self, stepper: Stepper, streams: Mapping[str, Batches], watchers: Any, interrupt: Interrupt, one_by_one: bool
    ) -> None:
        self.stepper, self.streams, self.watchers, self.interrupt = stepper, streams, watchers, interrupt
        self.pace = _Pace(one_by_one)
        self.seconds = self.waiting = self.examples = 0.0

    def train(self, epoch: int) -> float:
        """Trains for an epoch and returns the mean loss of its steps."""
        began = time.perf_counter()
        losses: list[float] = []
        for first, done in self._calls(epoch):
            _check_finite(done["loss"], epoch, first, self.streams)
            losses += done["loss"].tolist()
            self.examples += float(done["examples"].sum())
            self.waiting += float(done["waiting"].sum())
            for place in range(len(done["loss"])):
                logs = {name: float(values[place]) for name, values in done.items()}
                self.watchers.on_train_batch_end(first + place, logs)
            if self.interrupt.wanted:
                break
        self.seconds += time.perf_counter() - began
        return float(np.mean(losses))

    def _calls(self, epoch: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """After each call, the number of its first step and what its steps gave."""
        first, *others = self.streams
        data = {first: self.streams[first].epoch(epoch)}
        data |= {name: self.streams[name].epoch(epoch).repeat() for name in others}
        distribute = self.stepper.strategy.experimental_distribute_dataset
        iterators = {name: iter(distribute(part)) for name, part in data.items()}
        done, steps = 0, len(self.streams[first])
        while done < steps:
            count = min(self.pace.count, steps - done)
            for number in range(done, done + count):
                self.watchers.on_train_batch_begin(number)
            began = time.perf_counter()
            result = self.stepper(iterators, count)
            self.pace.took(time.perf_counter() - began, count)
            yield done, result
            done += count


class _Pace:
    """How many steps a call has: as many as take a fifth of a second, so that the terminal and Ctrl-C stay prompt."""

    SECONDS = 0.2

    def __init__(self, one_by_one: bool) -> None:
        self.count = 1
        self._calls, self._one_by_one = 0, one_by_one

    def took(self, seconds: float, count: int) -> None:
        """Takes note of a call; the first one traces, and says nothing."""
        self._calls += 1
        if self._calls > 1 and not self._one_by_one:
            self.count = int(np.clip(self.SECONDS * count / max(seconds, 1e-6), 1, 4 * count))


def _watches_steps(callback: Any) -> bool:
    """Whether a callback of the user's wants to see the model after every single step."""
    if type(callback).__module__.startswith("tfl."):
        return False
    hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
    return any(getattr(type(callback), hook) is not getattr(keras.callbacks.Callback, hook) for hook in hooks)


def _check_finite(losses: np.ndarray, epoch: int, first: int, streams: Mapping[str, Batches]) -> None:
    """Raises `UserError` where one of `losses`, of the steps from number `first` on, is not a finite number."""
    broken = np.flatnonzero(~np.isfinite(losses))
    if not len(broken):
        return
    step = first + int(broken[0])
    lines = [f"the loss became {losses[broken[0]]} in epoch {epoch + 1}, step {step + 1}, on these examples:"]
    for name, stream in streams.items():
        batch = next(iter(stream.epoch(epoch, skip=step % len(stream))))
        ids = [str(stream.examples.ids[place]) for place in batch["index"].numpy()]
        lines.append(f"  {name}: {', '.join(ids[:8])}{f' and {len(ids) - 8} more' if len(ids) > 8 else ''}")
    lines.append("lower the learning rate (phases.N.learning_rate), set clip_norm, or train in float32 (precision: float32)")
    raise UserError("\n".join(lines))


class Keeper:
    """Remembers the weights of the epoch that a phase keeps."""

    def __init__(self, phase: Phase, stepper: Stepper) -> None:
        self.phase, self.stepper = phase, stepper
        self.best_epoch, self.best = 0, (-float("inf"), -float("inf"))
        self._values: list[np.ndarray] | None = None

    def offer(self, epoch: int, results: Mapping[str, float]) -> None:
        """Takes the weights as they are after `epoch`, if that epoch is to be kept rather than those before.

        `results` has a loss and may have an accuracy, which counts first; of equals, the lower loss is better.
        """
        loss = results["loss"]
        score = (results.get("accuracy", 0.0), -float("inf") if np.isnan(loss) else -loss)
        if self.phase.keep == "last" or score > self.best:
            self.best_epoch, self.best = epoch, score
            model = self.stepper.model.model
            self._values = [variable.numpy() for variable in _state(model, self.stepper.variables)]

    def waited_enough(self, epoch: int) -> bool:
        """Whether early stopping ends the phase after `epoch`."""
        patience = self.phase.early_stopping
        return patience is not None and epoch - self.best_epoch >= patience

    def restore(self) -> None:
        """Gives the model the weights of the kept epoch."""
        if self._values is not None:
            for variable, value in zip(_state(self.stepper.model.model, self.stepper.variables), self._values, strict=True):
                variable.assign(value)


def _state(model: Any, trained: Sequence[Any]) -> list[Any]:
    """What a phase changes: the variables it trains and the statistics of layers that train."""
    return [*trained, *statistics(model)]
