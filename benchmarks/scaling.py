"""What moves between workers in a step, and what a second worker brings.

    python benchmarks/scaling.py [--workers 1 2] [--steps 20] [--networks mobilenet_v2 resnet50 …]

Prints two tables. The first needs no cluster: the numbers that train in each kind of phase, which are what is summed over the
replicas in every step, 4 bytes each. The second is measured on this machine: MobileNetV2 at 96 px, random weights, a global
batch of 32, by one process and by several workers in turn, each by `tfl launch`; seconds of a training step, over a whole
phase. Workers on one machine share its cores, so that what the second one brings here is its cost, not its use.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import measure
import numpy as np

from tfl import backbones, models
from tfl.tasks.classification import Classification

TOP = {"vgg16": "block5", "resnet50": "conv5", "inception_v3": "mixed8", "mobilenet_v2": "block_16*", "minilm": "layer_5"}
BATCH = 32


def moved(name: str) -> list[Any]:
    """A line of the first table: megabytes that the head, the top and all of `name` are, with a head for five classes."""
    if name == "minilm":
        measure.minilm()
    backbone = backbones.load(name, weights="pretrained" if name == "minilm" else "none")
    model = models.build(backbone, {"label": Classification(class_names=tuple("abcde"))})
    line: list[Any] = [name, TOP[name]]
    for trainable in ("head", TOP[name], "all"):
        models.set_trainable(model, backbone, trainable)
        line.append(4 * sum(int(np.prod(variable.shape)) for variable in model.trainable_variables) / 1e6)
    return line


def pictures(folder: Path, count: int) -> Path:
    from tfl.lazy import tf

    random = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"class{number % 2}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 255, (96, 96, 3), np.uint8)
        (place / f"{number:05}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


def step_seconds(photos: Path, workers: int, phase: str, folder: Path) -> float:
    """Of a step, in the mean over a phase."""
    out = folder / f"{workers}-{phase}"
    rate = f"[{{trainable: {phase}, epochs: 4, learning_rate: 1.0e-4}}]"
    options = ["backbone.weights=none", "backbone.image_size=96", "features=null", "augment=null", f"phases={rate}"]
    train = ["train", str(photos), "--backbone", "mobilenet_v2", "--out", str(out), f"data.batch_size={BATCH}", *options]
    command = [sys.executable, "-m", "tfl", "launch", "--workers", str(workers), "--logs", str(out) + ".logs", "--", *train]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    report = json.loads((out / "report.json").read_text())
    rates = report["phases"][0]["examples_per_second"]
    return BATCH / float(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=20, help="in an epoch")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--networks", nargs="+", default=list(TOP), choices=list(TOP))
    given = parser.parse_args()
    measure.table(
        "Megabytes that are summed over the replicas in a step, float32, a head for five classes",
        ("network", "top", "head, MB", "top, MB", "all, MB"),
        [moved(name) for name in given.networks],
    )
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        photos = pictures(folder / "photos", round(given.steps * BATCH / 0.7))
        lines = []
        for phase in ("head", "block_16*", "all"):
            found: dict[int, list[float]] = {count: [] for count in given.workers}
            for number in range(given.rounds):
                for count, seconds in found.items():
                    seconds.append(step_seconds(photos, count, phase, folder / str(number)))
            first = statistics.median(found[given.workers[0]])
            lines += [[phase, count, statistics.median(own), statistics.median(own) / first] for count, own in found.items()]
    measure.table(
        f"Seconds of a step of {BATCH} images, MobileNetV2 at 96 px; {given.rounds} rounds",
        ("trains", "workers", "a step, s", f"to {given.workers[0]}"),
        lines,
    )


if __name__ == "__main__":
    main()
