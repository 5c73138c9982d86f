"""A run killed at random points and gone on with: does it end with the weights that it would have had?

    python benchmarks/resume.py [--kills 100] [--seed 0]

Prints one table. The run trains MobileNet at 32 px on 60 small pictures in three phases (the head, the last two blocks, all),
with dropout, augmentation and AdamW, fills a feature store of its own, and writes a checkpoint after every step. It is killed
by SIGKILL at a time drawn evenly from the length of a whole run, and started again in the same directory, until it ends; then
every weight is compared, bit by bit, with that of a run that was left alone. Counted is where each kill struck.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

import tfl
from tfl.methods import finetune

ENOUGH = 60.0
"""Seconds that no run takes."""


def pictures(folder: Path) -> Path:
    """60 small pictures of two classes, of noise: dark and bright."""
    generator = np.random.default_rng(0)
    for name, level in (("dark", 90), ("bright", 150)):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(generator.normal(level, 60, (40, 40, 3)), 0, 255).astype(np.uint8)
            (folder / name / f"{number:02}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def train(photos: Path, out: Path, cache: Path) -> None:
    """The run; it goes on where `out` has a checkpoint."""
    last = {"trainable": {"last": 2}, "epochs": 2, "learning_rate": 1e-3, "ema": 0.9}
    tfl.finetune(
        str(photos),
        backbone={"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
        data={"batch_size": 8},
        task={"dropout": 0.3},
        phases=[{"epochs": 2, "learning_rate": 3e-3}, last, {"trainable": "all", "epochs": 1, "learning_rate": 1e-4}],
        features={"directory": str(cache)},
        checkpoints={"steps": 1},
        out=out,
    )


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


def ended(pid: int, seconds: float) -> bool:
    """Whether the process ends by itself within `seconds`; else it is killed."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            if status:
                raise SystemExit(f"a run failed: status {status}")
            return True
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return False


def where(out: Path) -> str:
    """What a killed run had come to, as its last checkpoint says."""
    drafts = list((out / "checkpoints").glob(".[0-9]*")) if out.is_dir() else []
    if drafts:
        return "while a checkpoint was written"
    found = sorted((out / "checkpoints").glob("[0-9]*")) if out.is_dir() else []
    if not found:
        return "before the first checkpoint"
    from safetensors import safe_open

    with safe_open(found[-1], framework="numpy") as file:
        about = json.loads(file.metadata()["about"])
    return f"phase {len(about['reports']) + 1}"


def digest(out: Path) -> None:
    """Writes what the model in `out` weighs, bit by bit."""
    import hashlib

    state = hashlib.sha256()
    for variable in tfl.load(out).model.variables:
        if "seed_generator" not in variable.path:
            state.update(variable.numpy().tobytes())
    (out / "digest").write_text(state.hexdigest())


def weighed(out: Path) -> str:
    """The digest of the model in `out`, made by a process of its own."""
    if not ended(process(digest, out), ENOUGH):
        raise SystemExit("a model cannot be read")
    return (out / "digest").read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    drawn = random.Random(given.seed)
    assert finetune  # imported before the first fork
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        photos = folder / "photos"
        ended(process(pictures, photos), ENOUGH)
        began = time.monotonic()
        if not ended(process(train, photos, folder / "whole", folder / "cache"), ENOUGH):
            raise SystemExit(f"a whole run takes more than {ENOUGH:.0f} s")
        length = time.monotonic() - began
        wanted = weighed(folder / "whole")
        struck: Counter[str] = Counter()
        runs = same = kills = 0
        while kills < given.kills:
            out, cache = folder / f"run{runs}", folder / f"cache{runs}"
            while True:
                left = kills < given.kills
                if ended(process(train, photos, out, cache), drawn.uniform(0, length) if left else ENOUGH):
                    break
                if not left:
                    raise SystemExit("a run does not end")
                kills += 1
                struck[where(out)] += 1
            runs += 1
            same += weighed(out) == wanted
            print(f"{kills} kills, {same} of {runs} runs end the same", file=sys.stderr, flush=True)
        print(f"{kills} kills by SIGKILL within {runs} runs of {length:.1f} s; {same} of {runs} end with the same weights")
        for place, count in sorted(struck.items()):
            print(f"  {count:4} {place}")
    sys.exit(0 if same == runs else 1)


if __name__ == "__main__":
    main()
