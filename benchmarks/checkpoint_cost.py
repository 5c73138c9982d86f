"""What writing checkpoints costs a run.

    python benchmarks/checkpoint_cost.py [--every 6] [--steps 200]

Prints one table. All of ResNet50, from random weights, trains at 96 px in batches of 16 with AdamW, with a checkpoint every
few seconds. `more`: by how many seconds the steps that a checkpoint touches, from the copying of the variables to the end of
its writing by another thread, take longer than as many others of the same run; medians, and the mean beside it. The share is
that of a checkpoint every 30 s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import measure
import numpy as np

import tfl
from tfl.checkpoint import Checkpoints, Recorder
from tfl.lazy import keras
from tfl.training import _Loop

BATCH = 16


EPOCH = 8
"""Steps; the last one has the validation behind it, and is held to others that have."""
INTERVAL = 30.0


class Spans:
    """When each checkpoint began to be copied, was copied, and was written; and the seconds that writing it computed."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.copied: list[float] = []
        self.written: list[float] = []
        self.computed: list[float] = []

    def watch(self) -> None:
        """Takes note of what the loop does from now on."""
        state, write, written = _Loop.state, Recorder.write, Checkpoints._write

        def timed_state(*args: Any) -> Any:
            self.began.append(time.perf_counter())
            return state(*args)

        def timed_write(*args: Any, **fields: Any) -> None:
            write(*args, **fields)
            self.copied.append(time.perf_counter())

        def timed_writing(*args: Any) -> None:
            busy = time.thread_time()
            written(*args)
            self.written.append(time.perf_counter())
            self.computed.append(time.thread_time() - busy)

        _Loop.state, Recorder.write, Checkpoints._write = timed_state, timed_write, timed_writing  # type: ignore[method-assign]


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """When each step had ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.times.append(time.perf_counter())


def step_times(images: np.ndarray, steps: int, out: Path, every: float) -> np.ndarray:
    """When each step of a run ended, with a checkpoint `every` so many seconds."""
    watcher = Steps()
    tfl.finetune(
        (images, np.arange(len(images)) % 2),
        backbone={"name": "resnet50", "weights": "none", "image_size": 96},
        data={"batch_size": BATCH, "validation": 0.05, "test": 0.05},
        phases=[{"trainable": "all", "epochs": steps // EPOCH, "learning_rate": 1e-4, "keep": "last"}],
        features=None,
        augment=None,
        checkpoints={"seconds": every},
        callbacks=[watcher],
        out=out,
    )
    return np.array(watcher.times)


def more(times: np.ndarray, spans: Spans) -> list[float]:
    """For each checkpoint, by how much the steps that it touches took longer than others."""
    begins, ends = times[:-1], times[1:]
    seconds, last = ends - begins, np.arange(len(times) - 1) % EPOCH == EPOCH - 1
    own = [(begins < done) & (ends > start) for start, done in zip(spans.began, spans.written, strict=True)]
    others = ~np.any(own, axis=0)
    usual = np.where(last, np.median(seconds[others & last]), np.median(seconds[others & ~last]))
    return [float((seconds - usual)[touched].sum()) for touched in own]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=float, default=6, help="seconds between two checkpoints")
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 255, (round(EPOCH * BATCH / 0.9), 96, 96, 3), np.uint8)
    spans = Spans()
    spans.watch()
    with tempfile.TemporaryDirectory() as made:
        times = step_times(images, given.steps, Path(made, "run"), given.every)
    if not spans.written:
        raise SystemExit("no checkpoint was written: raise --steps")
    found = more(times, spans)
    stopped = statistics.median(np.subtract(spans.copied, spans.began).tolist())
    took = statistics.median(np.subtract(spans.written, spans.copied).tolist())
    measure.table(
        f"All of ResNet50 at 96 px, {len(found)} checkpoints",
        ("stopped, s", "written, s", "computing, s", "more, s", "mean", "of 30 s", "mean"),
        [
            [
                stopped,
                took,
                statistics.median(spans.computed),
                statistics.median(found),
                statistics.mean(found),
                f"{statistics.median(found) / INTERVAL:.1%}",
                f"{statistics.mean(found) / INTERVAL:.1%}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
