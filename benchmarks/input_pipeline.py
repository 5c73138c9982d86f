"""Does the image pipeline keep up with the model? Photos of 500 px, decoded, resized and augmented while the model trains.

    python benchmarks/input_pipeline.py [--photos FOLDER] [--backbone mobilenet_v2] [--steps 20]

Prints one table: the seconds of a training step on a batch that is there already, and of a step that is fed from JPEG
files, in turn in one process, for a head-only phase and for one that trains the last block; and the peak memory with 500
and with 4,000 files. `--photos` is any folder of images; they are enlarged to 500 px and encoded anew first.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfl import backbones, distribute, models
from tfl.data import Columns
from tfl.data.augment import Augment
from tfl.data.examples import strings
from tfl.data.pipeline import prepare
from tfl.phases import Last, Phase
from tfl.step import Stepper
from tfl.tasks.classification import Classification
from tfl.training import Supervised

SIDE = 500


def make_photos(source: Path | None, folder: Path, count: int) -> list[str]:
    """`count` JPEG files whose longer side is 500 px, made of the images in `source`, or of smooth noise."""
    found = sorted(path for path in source.rglob("*.jpg")) if source else []
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        if found:
            image = tf.io.decode_image(found[number % len(found)].read_bytes(), channels=3, expand_animations=False)
        else:
            image = tf.cast(random.integers(0, 255, (24, 32, 3)), tf.float32)
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        enlarged = tf.image.resize(image, (round(height * scale), round(width * scale)), "bicubic")
        pixels = tf.cast(tf.clip_by_value(enlarged, 0, 255), tf.uint8)
        path = folder / f"{number:05}.jpg"
        path.write_bytes(tf.io.encode_jpeg(pixels, quality=90).numpy())
        paths.append(str(path))
    return paths


def columns(paths: list[str]) -> Columns:
    """The files as examples of two classes."""
    ids = strings(paths)
    labels = np.arange(len(ids), dtype=np.int64) % 2
    return Columns(ids=ids, inputs={"path": ids}, labels=labels, digests=ids.astype("S32"))


def compare(step: Stepper, fed: Any, steps: int) -> tuple[float, float]:
    """Median seconds of a step on one batch again and again, and fed from files; in turn, five steps of each at a time."""
    batches = iter(fed.epoch().repeat())
    one = next(batches)
    bare, whole = [], []
    step({"train": one})
    for _ in range(max(1, steps // 5)):
        for _ in range(5):
            start = time.perf_counter()
            step({"train": one})
            bare.append(time.perf_counter() - start)
        next(batches)  # what was prefetched while the bare steps ran does not count
        next(batches)
        next(batches)
        for _ in range(5):
            start = time.perf_counter()
            step({"train": next(batches)})
            whole.append(time.perf_counter() - start)
    return statistics.median(bare), statistics.median(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    backbone = backbones.load(given.backbone, weights="none")
    task = {"label": Classification(class_names=("a", "b"))}
    model = models.build(backbone, task)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(given.photos, Path(folder), 500)
        print(f"{given.backbone}, batch 32, photos of {SIDE} px, default augmentation")
        print(f"{'phase':<16}{'bare step, s':>14}{'fed step, s':>14}{'ratio':>8}")
        for phase in (Phase(trainable="head"), Phase(trainable=Last(last=1))):
            models.set_trainable(model, backbone, phase.trainable)
            step = Stepper(
                models.cut(model),
                Supervised(task),
                models.groups(model, backbone, phase),
                phase,
                100,
                distribute.strategy("cpu"),
            )
            fed = prepare(
                columns(paths),
                backbone.preprocess,
                modality="image",
                batch_size=32,
                training=True,
                augment=Augment(crop=0.8, color=0.0),
            )
            bare, whole = compare(step, fed, given.steps)
            print(f"{phase.trainable!s:<16}{bare:>14.3f}{whole:>14.3f}{whole / bare:>8.2f}")
        for count in (500, 4000):
            many = columns((paths * 8)[:count])
            batches = prepare(many, backbone.preprocess, modality="image", batch_size=32, training=True)
            for _ in batches.epoch():
                pass
            print(f"peak memory after an epoch of {count:>5,} files: {peak():,.0f} MB")


def peak() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
