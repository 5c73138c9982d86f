"""Keras callbacks that show a phase while it trains: in the terminal and for TensorBoard."""

from __future__ import annotations

import contextlib
import socket
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

    TensorFlow writes these files itself; to look at them, `pip install tensorboard`. A disk that is full ends no training.
    """

    def __init__(self, folder: Path, first_epoch: int, say: Callable[[str], None]) -> None:
        super().__init__()
        self._folder, self._first, self._say = folder, first_epoch, say
        self._writers: dict[str, Any] = {}
        self._failed = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Begins the files."""
        for kind in ("train", "validation"):
            self._write(kind, file_version="brain.Event:2")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes one point of each curve."""
        points: dict[str, list[Any]] = {"train": [], "validation": []}
        for name, value in (logs or {}).items():
            kind = "validation" if name.startswith("val_") else "train"
            tag = f"epoch/{name.removeprefix('val_')}"
            points[kind].append(tf.compat.v1.Summary.Value(tag=tag, simple_value=value))
        for kind, values in points.items():
            self._write(kind, step=self._first + epoch, summary=tf.compat.v1.Summary(value=values))

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Closes the files."""
        for writer in self._writers.values():
            with contextlib.suppress(tf.errors.OpError):
                writer.close()

    def _write(self, kind: str, **fields: Any) -> None:
        """An event to the file of `kind`; where it cannot be written, that is said, and nothing more is."""
        if self._failed:
            return
        event = tf.compat.v1.Event(wall_time=time.time(), **fields).SerializeToString()
        try:
            if kind not in self._writers:
                self._writers[kind] = self._open(self._folder / kind)
            self._writers[kind].write(event)
            self._writers[kind].flush()
        except (OSError, tf.errors.OpError) as error:
            self._failed = True
            self._say(f"{self._folder}: the curves cannot be written ({error}); training goes on without them")

    def _open(self, folder: Path) -> Any:
        """A new file of events in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{self._first}"
        return tf.io.TFRecordWriter(str(folder / name))
