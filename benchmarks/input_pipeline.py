"""Does the image pipeline keep up with the model? Photos, decoded, resized and augmented while the model trains.

    python benchmarks/input_pipeline.py [--photos FOLDER] [--backbone mobilenet_v2] [--steps 20] [--side 500]
    python benchmarks/input_pipeline.py --decode [--photos FOLDER] [--side 4000]

Prints one table: the seconds of a training step on a batch that is there already, and of a step that is fed from JPEG
files, in turn in one process, for a head-only phase and for one that trains the last block; and the peak memory with 500
and with 4,000 files. With `--decode`, instead: the images a second of the pipeline alone, with a full decode and at reduced
scale, and those of the check that finds unreadable files. `--photos` is any folder of images; they are enlarged to `--side`
pixels and encoded anew first.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfl import backbones, distribute, models
from tfl.cut import cut
from tfl.data import Columns, scan
from tfl.data import image as images
from tfl.data.augment import Augment
from tfl.data.examples import digest, digests, strings
from tfl.data.pipeline import prepare
from tfl.phases import Last, Phase
from tfl.step import Stepper
from tfl.tasks.classification import Classification
from tfl.training import Supervised


def make_photos(source: Path | None, folder: Path, count: int, side: int) -> list[str]:
    """`count` JPEG files whose longer side is `side`, made of the images in `source`, or of smooth noise."""
    found = sorted(path for path in source.rglob("*.jpg")) if source else []
    random = np.random.default_rng(0)
    paths = []
    for number in range(count):
        if found:
            image = tf.io.decode_image(found[number % len(found)].read_bytes(), channels=3, expand_animations=False)
        else:
            image = tf.cast(random.integers(0, 255, (24, 32, 3)), tf.float32)
        height, width = image.shape[:2]
        scale = side / max(height, width)
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
    return Columns(ids=ids, inputs={"path": ids}, labels=labels, digests=digests(digest(path.encode()) for path in paths))


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


def compare_decoding(paths: list[str], preprocess: Any, augment: Augment) -> None:
    """Prints the images a second of the pipeline without a model and of the check, each in turn in full and reduced."""

    def pipeline(reduced: bool, training: bool) -> float:
        options = {"training": training, "augment": augment, "reduced": reduced}
        batches = prepare(columns(paths), preprocess, modality="image", batch_size=32, **options)
        start = time.perf_counter()
        for _ in batches.epoch():
            pass
        return len(batches.examples) / (time.perf_counter() - start)

    def check(reduced: bool, _: bool) -> float:
        start = time.perf_counter()
        if reduced:
            scan.unreadable(paths)
        else:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda path: images.decode(tf.io.read_file(path)), paths))
        return len(paths) / (time.perf_counter() - start)

    print(f"{'images a second':<24}{'full':>10}{'reduced':>10}{'ratio':>8}")
    for name, measure, training in (
        ("decode, resize", pipeline, False),
        ("with augmentation", pipeline, True),
        ("check for unreadable", check, False),
    ):
        rates = [(measure(False, training), measure(True, training)) for _ in range(6)][1:]  # the first warms up
        full, reduced = (statistics.median(way) for way in zip(*rates, strict=True))
        print(f"{name:<24}{full:>10.0f}{reduced:>10.0f}{reduced / full:>8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--side", type=int, default=500)
    parser.add_argument("--decode", action="store_true")
    given = parser.parse_args()
    backbone = backbones.load(given.backbone, weights="none")
    augment = Augment(crop=0.8, color=0.0)
    if given.decode:
        with tempfile.TemporaryDirectory() as folder:
            paths = make_photos(given.photos, Path(folder), 128, given.side)
            used = sorted(set(scan.ratios(paths, backbone.preprocess.size).tolist()))
            print(f"128 photos of {given.side} px to {backbone.preprocess.size}, reduced by {', '.join(map(str, used))}")
            compare_decoding(paths, backbone.preprocess, augment)
        return
    task = {"label": Classification(class_names=("a", "b"))}
    model = models.build(backbone, task)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(given.photos, Path(folder), 500, given.side)
        print(f"{given.backbone}, batch 32, photos of {given.side} px, default augmentation")
        print(f"{'phase':<16}{'bare step, s':>14}{'fed step, s':>14}{'ratio':>8}")
        for phase in (Phase(trainable="head"), Phase(trainable=Last(last=1))):
            models.set_trainable(model, backbone, phase.trainable)
            step = Stepper(
                cut(model),
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
                augment=augment,
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
