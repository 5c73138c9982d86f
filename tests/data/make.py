"""Tiny data of every kind, written by TensorFlow alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


def png(seed: int, size: int = 8) -> bytes:
    """An encoded image that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return tf.io.encode_png(pixels).numpy()


def write_folder(root: Path, counts: Mapping[str, int], seed: int = 0) -> Path:
    """`counts` images in each folder below `root`."""
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            seed += 1
            (root / name / f"{number:02d}.png").write_bytes(png(seed))
    return root


def example(features: Mapping[str, Any]) -> bytes:
    """A serialised `tf.train.Example`."""
    kinds = {
        bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
        int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
        float: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
    }
    lists = {name: value if isinstance(value, list) else [value] for name, value in features.items()}
    made = {name: kinds[type(value[0])](value) for name, value in lists.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def write_records(file: Path, rows: list[Mapping[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for row in rows:
            writer.write(example(row))
    return file


def write_shards(root: Path, counts: Mapping[str, int]) -> Path:
    """Shards `NAME.tfrecord` of images with labels 0 and 1 by turns."""
    seed = 0
    for name, count in counts.items():
        rows = [{"image": png(seed + i), "label": i % 2} for i in range(count)]
        write_records(root / f"{name}.tfrecord", rows)
        seed += count
    return root


def write_tfds(
    root: Path, name: str, counts: Mapping[str, int], features: Mapping[str, Any] | None = None, rows: Any = None
) -> Path:
    """A prepared TFDS data set in `root/name/1.0.0`; by default of images with the labels cat and dog by turns.

    `rows(split, number)` gives an example.
    """
    import tensorflow_datasets as tfds

    features = features or {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["cat", "dog"])}
    start = {split: sum(list(counts.values())[:place]) for place, split in enumerate(counts)}
    rows = rows or (lambda split, i: {"image": _pixels(start[split] + i), "label": i % 2})
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    identity = tfds.core.DatasetIdentity(name=name, version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="")
    info = tfds.core.DatasetInfo(builder=identity, features=tfds.features.FeaturesDict(features))
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=1000)
    writer.initialize_splits(list(counts))
    for split, count in counts.items():
        writer.add_examples({split: [rows(split, number) for number in range(count)]})
    writer.close_all()
    return folder


def _pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
