"""Keras callbacks that show a phase while it trains: in the terminal and for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfl.lazy import keras, tf


@contextmanager
def counting(what: str, total: int, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar for `total` examples that goes when it is done; within the context, a call moves it on by so many."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


class ProgressBar(keras.callbacks.Callback):
    """A bar for each epoch with the loss, examples or tokens a second and the time left; a line when the epoch is done."""

    def __init__(self, title: str, epochs: int, steps: int, console: Console) -> None:
        super().__init__()
        self.title, self.epochs, self.steps, self.console = title, epochs, steps, console

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the epoch's bar."""
        self._loss = self._units = self._examples = 0.0
        self._steps = 0
        self._unit = "examples"
        self._start = time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(f"{self.title}  epoch {epoch + 1}/{self.epochs}", total=self.steps, status="")
        self._bar.start()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Moves the bar on."""
        logs = logs or {}
        self._steps += 1  # fewer than `batch` where the epoch goes on from a checkpoint
        self._loss += (logs["loss"] - self._loss) / self._steps
        self._unit = "tokens" if "tokens" in logs else "examples"
        self._units += logs.get("tokens", logs["examples"])
        self._examples += logs["examples"]
        self._bar.update(self._task, completed=batch + 1, status=f"loss {self._loss:.4f}  {self._speed()}")
        if batch + 1 == self.steps:
            self._trained = self._speed()

    def _speed(self) -> str:
        return f"{self._units / max(time.perf_counter() - self._start, 1e-9):,.0f} {self._unit}/s"

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replaces the bar by a line that stays."""
        self._bar.stop()
        figures = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in (logs or {}).items())
        seconds = time.perf_counter() - self._start
        speed = getattr(self, "_trained", self._speed())
        self.console.print(
            f"{self.title}  epoch {epoch + 1}/{self.epochs}  {figures}  {speed}  {seconds:.0f} s", highlight=False
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves no bar behind where the phase ended early."""
        if hasattr(self, "_bar"):
            self._bar.stop()


class TensorBoard(keras.callbacks.Callback):
    """Writes the results of every epoch under `folder`, on one axis of epochs over all phases.

    TensorFlow writes these files itself; to look at them, `pip install tensorboard`.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        super().__init__()
        self._folder, self._first = folder, first_epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the files; the writer is one of graph mode, since that of eager mode needs the package tensorboard."""
        writer = tf.compat.v1.summary.FileWriter
        with tf.Graph().as_default():
            self._writers = {kind: writer(str(self._folder / kind)) for kind in ("train", "validation")}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes one point of each curve."""
        points: dict[str, list[Any]] = {"train": [], "validation": []}
        for name, value in (logs or {}).items():
            kind = "validation" if name.startswith("val_") else "train"
            tag = f"epoch/{name.removeprefix('val_')}"
            points[kind].append(tf.compat.v1.Summary.Value(tag=tag, simple_value=value))
        for kind, values in points.items():
            self._writers[kind].add_summary(tf.compat.v1.Summary(value=values), self._first + epoch)
            self._writers[kind].flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            writer.close()
