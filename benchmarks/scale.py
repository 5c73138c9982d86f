"""How do time and memory grow with the number of examples? Training a head on 1,000 to 100,000 small images.

    python benchmarks/scale.py [--sizes 1000 10000 100000] [--epochs 3] [--repeat]

Prints one table. The images are those of CIFAR-10, JPEGs of 32 px in TFRecord shards; the second half of 100,000 are the
first ones mirrored. The backbone is mobilenet_0.25 at 32 px with random weights. Each size has a process of its own and an
empty store. `data` is reading and checking the shards, `frozen` is computing the frozen features (a part of `training`),
`epoch` the median of the epochs from the second on. `memory` is the most that the process had; with TensorFlow loaded and
nothing done it has about 500 MB. `images a second` counts the training examples of all epochs over the whole call. With
`--repeat`, each size once more in a new process, which finds the store filled. A line says by how much the largest size takes
longer than the line through the two before it, and how much more memory than the size before it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import measure

import tfl
from tfl.lazy import tf

SHARD = 10_000
"""Images in a file."""
TEST = 1000


def images(count: int) -> Iterator[bytes]:
    """`count` records of training images: those of CIFAR-10, and then those again, mirrored."""
    shards = sorted(map(str, measure.asset("images/cifar10").glob("train-*.tfrecord")))
    originals = tf.data.TFRecordDataset(shards)
    spec = {"image": tf.io.FixedLenFeature([], tf.string), "label": tf.io.FixedLenFeature([], tf.int64)}
    for number, record in enumerate(originals.concatenate(originals).take(count).as_numpy_iterator()):
        if number < 50_000:
            yield record
            continue
        example = tf.io.parse_single_example(record, spec)
        mirrored = tf.io.encode_jpeg(tf.reverse(tf.io.decode_jpeg(example["image"]), [1]), quality=95).numpy()
        label = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(example["label"])]))
        features = {"image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[mirrored])), "label": label}
        yield tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(folder: Path, count: int) -> None:
    """Shards of `count` images to train on and 1,000 to test on."""
    folder.mkdir()
    source = measure.asset("images/cifar10")
    shutil.copyfile(source / "classes.txt", folder / "classes.txt")
    records = images(count)
    for number in range(-(-count // SHARD)):
        with tf.io.TFRecordWriter(str(folder / f"train-{number:03}.tfrecord")) as writer:
            for record, _ in zip(records, range(min(SHARD, count - number * SHARD)), strict=False):
                writer.write(record)
    with tf.io.TFRecordWriter(str(folder / "test.tfrecord")) as writer:
        for record in tf.data.TFRecordDataset(str(next(source.glob("test-*.tfrecord")))).take(TEST).as_numpy_iterator():
            writer.write(record)


def part(folder: str, epochs: int) -> dict[str, Any]:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        run = tfl.finetune(
            folder,
            backbone={"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
            augment=None,
            phases=[tfl.Phase(epochs=epochs)],
            out=f"{out}/run",
        )
        whole = time.perf_counter() - start
    phase = run.report.phases[0]
    facts = phase.features
    return {
        "train": run.report.data["sizes"]["train"],
        "data": run.report.seconds["data"],
        "training": run.report.seconds["training"],
        "frozen": facts.get("seconds"),
        "epoch": statistics.median([epoch["seconds"] for epoch in phase.epochs[1:]]),
        "whole": whole,
        "bytes": facts.get("bytes"),
        "memory": measure.peak_memory(),
    }


def compare(lines: list[list[Any]]) -> None:
    """Holds the largest size to the line through the two before it."""
    (small, low), (middle, high), (large, found) = ((line[0], line[6]) for line in lines[-3:])
    expected = high + (high - low) / (middle - small) * (large - middle)
    print(
        f"{large} images: {found:.1f} s, by the line through {small} and {middle} {expected:.1f} s: {found / expected - 1:+.1%}"
    )
    print(f"memory from {middle} to {large} images: {lines[-1][8] / lines[-2][8] - 1:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000], help="images, validation included")
    parser.add_argument("--epochs", type=int, default=3, help="at least 2")
    parser.add_argument("--repeat", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.part:
        print(json.dumps(part(**json.loads(given.part))))
        return
    lines = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as folder, measure.fresh_cache():
            shards = Path(folder) / "shards"
            write(shards, size)
            for store in ("empty", "filled")[: 1 + given.repeat]:
                found = measure.apart(__file__, folder=str(shards), epochs=given.epochs)
                stages = [found[name] for name in ("data", "frozen", "training", "epoch", "whole")]
                rate = found["train"] * given.epochs / found["whole"]
                written = found["bytes"] / 1e6 if found["bytes"] else None
                lines.append([size, store, *stages, rate, found["memory"], written])
                print(f"{size} images, {store} store: {found['whole']:.1f} s, {found['memory']:.0f} MB", flush=True)
    if len(given.sizes) > 2:
        compare(lines[:: 1 + given.repeat])
    stages = [f"{name}, s" for name in ("data", "frozen", "training", "epoch", "whole")]
    measure.table(
        f"A head on mobilenet_0.25 at 32 px, {given.epochs} epochs, 15 % of the images to validate on",
        ("images", "store", *stages, "images a second", "memory, MB", "written, MB"),
        lines,
    )


if __name__ == "__main__":
    main()
