"""Passes over the training examples: which steps share a call, what they took, and what broke one."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data.batches import Batches
from tfl.distribute import distributed, workers
from tfl.interrupt import Interrupt
from tfl.lazy import keras
from tfl.step import Stepper


class Passes:
    """Passes over the training examples, and what they took together."""

    def __init__(
        self, stepper: Stepper, streams: Mapping[str, Batches], watchers: Any, interrupt: Interrupt, callbacks: Sequence[Any]
    ) -> None:
        self.stepper, self.streams, self.watchers, self.interrupt = stepper, streams, watchers, interrupt
        self._workers = workers(stepper.strategy)
        self.losses: list[float] = []
        """Of each step of this epoch that is done."""
        self.seconds = self.waiting = self.examples = 0.0
        self._main: Any = None
        """The iterator of the first stream."""
        self._pace = _Pace(one_by_one=any(map(_watches_steps, callbacks)))

    def train(self, epoch: int, room: Callable[[], int], after: Callable[[int], None]) -> float:
        """Trains for what is left of an epoch and returns the mean loss of all its steps.

        `room()`: how many steps a call may have; `after(steps)` is called after each call.
        """
        began = time.perf_counter()
        for first, done in self._calls(epoch, room):
            _check_finite(done["loss"], epoch, first, self.streams)
            self.losses += done["loss"].tolist()
            self.examples += float(done["examples"].sum())
            self.waiting += float(done["waiting"].sum())
            self.seconds += time.perf_counter() - began
            for place in range(len(done["loss"])):
                logs = {name: float(values[place]) for name, values in done.items()}
                self.watchers.on_train_batch_end(first + place, logs)
            after(len(done["loss"]))
            if self.interrupt.wanted:
                break
            began = time.perf_counter()
        loss = float(np.mean(self.losses))
        self.losses = []
        return loss

    def _calls(self, epoch: int, room: Callable[[], int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """After each call, the number of its first step and what its steps gave."""
        done, steps = len(self.losses), len(next(iter(self.streams.values())))
        if done == steps:
            return
        iterators = self._iterators(epoch, done)
        while done < steps:
            count = min(self._pace.count, steps - done, room())
            for number in range(done, done + count):
                self.watchers.on_train_batch_begin(number)
            began = time.perf_counter()
            result = self.stepper(iterators, count)
            self._pace.took(time.perf_counter() - began, count)
            self._pace.count = -int(self._workers.most([-self._pace.count])[0])  # their clocks differ
            yield done, result
            done += count

    def _iterators(self, epoch: int, done: int) -> dict[str, Any]:
        """Over the batches of each stream in an epoch, from number `done` on."""
        first, *others = self.streams
        stream, strategy = self.streams[first], self.stepper.strategy
        if self._main is None or not stream.lasts:
            self._main = iter(distributed(strategy, functools.partial(stream.onwards, epoch, done)))
        found = {first: self._main}
        for name in others:
            found[name] = iter(distributed(strategy, functools.partial(self.streams[name].forever, epoch, done)))
        return found


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
    if isinstance(callback, keras.callbacks.LambdaCallback):  # it puts its functions on the object, if it has any
        return bool({"on_train_batch_begin", "on_train_batch_end"} & vars(callback).keys())
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
    lines.append(
        "lower the learning rate (phases.N.learning_rate), set clip_norm, or train in float32 (precision: float32); a phase "
        "that has begun keeps its settings, so this takes a new run, in another directory (out)"
    )
    raise UserError("\n".join(lines))
