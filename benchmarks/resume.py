"""A run killed at random points and gone on with: does it end with the weights that it would have had?

    python benchmarks/resume.py [--kills 100] [--seed 0] [--network mobilenet|small]

Prints one table. The run trains on 60 small pictures in three phases (the head on stored features, then the upper part or all,
then all), with dropout, augmentation and AdamW, fills a feature store of its own, and writes a checkpoint after every step. It
is killed by SIGKILL, started again in the same directory and killed again, until it ends or the kills are used up; then every
weight is compared, bit by bit, with that of a run that was left alone, and the next run begins. Each kill is aimed at what a
generator of random numbers draws: while the run starts, after one to four more checkpoints, or while the one after those is
written; the first one of each run, at the filling of its store. Counted is where it struck.

The network is MobileNet at 32 px, or a convolution and a matrix at 16 px, which a test can wait for: it is traced in no time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tfl
from tfl.directory import REPORT, is_unfinished
from tfl.features import frontier

ENOUGH = 60.0
"""Seconds that no run takes."""


def pictures(folder: Path, size: int) -> None:
    """60 small pictures of two classes, of noise: dark and bright."""
    labels = np.arange(60) % 2
    noise = np.random.default_rng(0).normal(90 + 60 * labels[:, None, None, None], 60, (60, size, size, 3))
    folder.mkdir(parents=True)
    np.savez(folder / "pictures.npz", images=np.clip(noise, 0, 255).astype(np.uint8), labels=labels)


class Small(tf.Module):
    """A convolution and a matrix: [N, 16, 16, 3] to [N, 8]."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(0)
        self.kernel = tf.Variable(random.normal(0, 0.3, (3, 3, 3, 32)).astype("float32"), name="kernel")
        self.matrix = tf.Variable(random.normal(0, 0.3, (32, 8)).astype("float32"), name="matrix")

    @tf.function
    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(x, self.kernel, 2, "SAME")), [1, 2]) @ self.matrix


def prepare(folder: Path, network: str) -> None:
    """What a run needs: its pictures and, where the network is none that tfl knows, the network."""
    pictures(folder, 40 if network == "mobilenet" else 16)
    if network == "small":
        module = Small()
        for training in (False, True):
            module.__call__.get_concrete_function(tf.TensorSpec([None, 16, 16, 3], tf.float32), training=training)
        tf.saved_model.save(module, str(folder / "small"))


def train(given: Path, network: str, out: Path, cache: Path) -> None:
    """The run; it goes on where `out` has a checkpoint."""
    frontier.WORTH = 0  # however quickly it is computed, it is stored
    os.fsync = slow(os.fsync)
    mobilenet = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    middle = {"last": 2} if network == "mobilenet" else "all"
    tfl.finetune(
        str(given / "pictures.npz"),
        backbone=mobilenet if network == "mobilenet" else {"name": "hub", "weights": str(given / "small")},
        data={"batch_size": 4},
        task={"dropout": 0.3},
        phases=[
            {"epochs": 2, "learning_rate": 3e-3},
            {"trainable": middle, "epochs": 2, "learning_rate": 1e-3, "ema": 0.9},
            {"trainable": "all", "epochs": 1, "learning_rate": 1e-4},
        ],
        features={"directory": str(cache)},
        checkpoints={"steps": 1},
        out=out,
    )


def slow(sync: Callable[[int], None]) -> Callable[[int], None]:
    """A disk that is slow enough for a kill to strike while it is written to."""

    def wait(descriptor: int) -> None:
        time.sleep(0.02)
        sync(descriptor)

    return wait


def process(call: Any, *args: Any) -> int:
    """Starts `call` in a process of its own, by a fork of this one, in which TensorFlow has only been imported."""
    pid = os.fork()
    if pid:
        return pid
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    try:
        call(*args)
        os._exit(0)
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)


def ended(pid: int, strike: Callable[[], bool]) -> bool:
    """Whether the process ends by itself; else it is killed, as soon as `strike()`."""
    limit = time.monotonic() + ENOUGH
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a run failed: status {status}")
            return True
        late = time.monotonic() > limit
        if late or strike():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            if late:
                raise SystemExit(f"a run takes more than {ENOUGH:.0f} s")
            return False
        time.sleep(0.001)


def whole(call: Any, *args: Any) -> None:
    """Runs `call` in a process of its own, to its end."""
    ended(process(call, *args), lambda: False)


class Aim:
    """When a kill strikes: drawn anew for each."""

    def __init__(self, drawn: random.Random, out: Path, cache: Path, start: float) -> None:
        """`start`: seconds that a run takes until its first step, about."""
        self.out, self.cache = out, cache
        self.kind = drawn.choice(("start", "step", "step", "write", "write")) if self._stored(cache) else "fill"
        self.more = drawn.randint(1, 4)
        self.delay = drawn.uniform(0, start if self.kind == "start" else 0.05)
        self._last = self._newest()
        self.filling = False
        """Whether it strikes while the store is filled."""
        self._at = time.monotonic() + self.delay if self.kind == "start" else None

    def __call__(self) -> bool:
        """Whether it strikes now."""
        if self._at is None and self._reached():
            self._at = time.monotonic() + (0 if self.kind == "write" else self.delay)
            self.filling = self.kind == "fill" and self._newest() == self._last
        return self._at is not None and time.monotonic() >= self._at

    def _reached(self) -> bool:
        begun = self._newest() - self._last
        if self.kind == "fill":
            return self._stored(self.cache) or begun > 0
        return begun >= self.more and (self.kind != "write" or bool(drafts(self.out)))

    def _newest(self) -> int:
        """The number of the last checkpoint."""
        return max((int(path.name[:6]) for path in checkpoints(self.out, "[0-9]*")), default=0)

    @staticmethod
    def _stored(cache: Path) -> bool:
        """Whether something of the store is there, be it not whole yet."""
        return any(files for _, _, files in os.walk(cache))


def checkpoints(out: Path, pattern: str) -> list[Path]:
    """The files of the run's checkpoints that match, in order; none where the run has ended and taken them away."""
    with contextlib.suppress(FileNotFoundError):
        return sorted((out / "checkpoints").glob(pattern))
    return []


def drafts(out: Path) -> list[Path]:
    """Checkpoints that are being written."""
    return checkpoints(out, ".[0-9]*")


def is_whole(out: Path) -> bool:
    """Whether the run had ended, and only its process had not."""
    return (out / REPORT).is_file() and not is_unfinished(out)


def where(out: Path) -> str:
    """What a killed run had come to, as its last checkpoint says."""
    if is_whole(out):
        return "after the run was whole"
    found = checkpoints(out, "[0-9]*")
    if not found:
        return "before the first checkpoint"
    from safetensors import safe_open

    with safe_open(found[-1], framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
    writing = ", while a checkpoint was written" if drafts(out) else ""
    return f"phase {len(about['reports']) + 1}{writing}"


def digest(out: Path) -> None:
    """Writes what the model in `out` weighs, bit by bit."""
    import hashlib

    state = hashlib.sha256()
    for variable in tfl.load(out).model.variables:
        if "seed_generator" not in variable.path:
            state.update(variable.numpy().tobytes())
    (out / "digest").write_text(state.hexdigest())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--network", choices=("mobilenet", "small"), default="mobilenet")
    given = parser.parse_args()
    drawn = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        whole(prepare, folder / "given", given.network)
        began = time.monotonic()
        whole(train, folder / "given", given.network, folder / "whole", folder / "cache")
        length = time.monotonic() - began
        whole(digest, folder / "whole")
        wanted = (folder / "whole" / "digest").read_text()
        struck: Counter[str] = Counter()
        runs = same = kills = 0
        while kills < given.kills:
            out, cache = folder / f"run{runs}", folder / f"cache{runs}"
            while True:
                aim = Aim(drawn, out, cache, length / 4) if kills < given.kills else lambda: False
                if ended(process(train, folder / "given", given.network, out, cache), aim):
                    break
                kills += 1
                struck["while the store was filled" if getattr(aim, "filling", False) else where(out)] += 1
                if is_whole(out):
                    break
            runs += 1
            whole(digest, out)
            same += (out / "digest").read_text() == wanted
            print(f"{kills} kills, {same} of {runs} runs end the same", file=sys.stderr, flush=True)
        print(f"{kills} kills by SIGKILL within {runs} runs of {length:.1f} s; {same} of {runs} end with the same weights")
        for place, count in sorted(struck.items()):
            print(f"  {count:4} {place}")
    sys.exit(0 if same == runs else 1)


if __name__ == "__main__":
    main()
