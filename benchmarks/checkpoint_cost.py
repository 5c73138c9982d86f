"""What writing checkpoints costs a run.

    python benchmarks/checkpoint_cost.py [--seconds 30] [--steps 40] [--rounds 1]

Prints one table. All of ResNet50, from random weights, trains at 96 px in batches of 16 with AdamW, with a checkpoint every
30 s and with none, in turn in one program. `stopped`: seconds that the loop waits while the variables are copied, for each
checkpoint, and as a share of the time between two; on a machine that others use, it is the figure to go by. `written`: seconds
that the thread beside the loop then takes for it, and those of them in which it computes. The time of a step, over all of
them, holds both.
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


class Clock:
    """Adds up the seconds of calls of methods."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {"state": [], "copied": [], "written": [], "computed": []}

    def watch(self, kind: Any, method: str, name: str, computed: str = "") -> None:
        """Times `kind.method`, also while it computes where that has a name."""
        real = getattr(kind, method)

        def timed(*args: Any, **fields: Any) -> Any:
            began, busy = time.perf_counter(), time.thread_time()
            try:
                return real(*args, **fields)
            finally:
                self.found[name].append(time.perf_counter() - began)
                if computed:
                    self.found[computed].append(time.thread_time() - busy)

        setattr(kind, method, timed)


class Steps(keras.callbacks.Callback):  # type: ignore[misc]
    """When each step had ended."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.times.append(time.perf_counter())


def step_seconds(images: np.ndarray, steps: int, out: Path, checkpoints: dict[str, Any] | None) -> float:
    """Of a step, in the mean over all but the first two."""
    watcher = Steps()
    tfl.finetune(
        (images, np.arange(len(images)) % 2),
        backbone={"name": "resnet50", "weights": "none", "image_size": 96},
        data={"batch_size": BATCH, "validation": 0.05, "test": 0.05},
        phases=[{"trainable": "all", "epochs": steps // 8, "learning_rate": 1e-4, "keep": "last"}],
        features=None,
        augment=None,
        checkpoints=checkpoints,
        callbacks=[watcher],
        out=out,
    )
    return (watcher.times[-1] - watcher.times[1]) / (len(watcher.times) - 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="between two checkpoints")
    parser.add_argument("--steps", type=int, default=40, help="of each run, in epochs of 8")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 255, (round(8 * BATCH / 0.9), 96, 96, 3), np.uint8)
    clock = Clock()
    clock.watch(_Loop, "state", "state")
    clock.watch(Recorder, "write", "copied")
    clock.watch(Checkpoints, "_write", "written", "computed")
    with tempfile.TemporaryDirectory() as made:
        folders = iter(Path(made, str(number)) for number in range(1000))
        often = {"seconds": given.seconds}
        ways = {"none": None, f"every {given.seconds:.0f} s": often}
        found = measure.in_turn(
            {name: lambda own=own: step_seconds(images, given.steps, next(folders), own) for name, own in ways.items()},
            given.rounds,
            warm=0,
        )
    none, some = (statistics.median(own) for own in found.values())
    seen = clock.found
    stopped = [state + copied for state, copied in zip(seen["state"], seen["copied"], strict=True)]
    if not stopped:
        raise SystemExit("no checkpoint was written: raise --steps")
    stop = statistics.median(stopped)
    measure.table(
        f"All of ResNet50 at 96 px, a checkpoint every {given.seconds:.0f} s: {len(stopped)} of them in {given.rounds} rounds",
        ("stopped, s", "share of the time", "written, s", "computing, s", "a step, s", "without, s", "more"),
        [
            [
                stop,
                f"{stop / given.seconds:.2%}",
                statistics.median(seen["written"]),
                statistics.median(seen["computed"]),
                some,
                none,
                f"{some / none - 1:+.1%}",
            ]
        ],
    )


if __name__ == "__main__":
    main()
