"""The examples of a test split as they came, kept in one file, so that an export can be held to their evaluation later.

A file of TensorFlow's records, each a `tf.train.Example`: `id`; `text` (and `text_pair`), or `image`, the bytes of an encoded
image, or `path`, an image file that stays where it is, with the `digest` of its content; and `label`, numbers as the task has
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfl.config import UserError
from tfl.data.examples import Columns, Examples, digest, digests, strings
from tfl.data.files import hash_files
from tfl.data.steady import steady
from tfl.kinds import Kind
from tfl.lazy import tf
from tfl.whole import written

Gone = Literal["missing", "changed"]
"""Of an image file: it cannot be read any more, or is another one now."""


def keep(examples: Examples, file: Path) -> None:
    """Writes `examples` to `file`, in order. An array becomes a PNG, which loses nothing."""
    with written(file) as draft, tf.io.TFRecordWriter(str(draft)) as writer:
        for row in examples.dataset().as_numpy_iterator():
            place = int(row["index"])
            feature = {"id": _bytes(str(examples.ids[place]).encode())}
            for name in ("text", "text_pair", "image", "path"):
                if name in row:
                    feature[name] = _bytes(_encoded(row[name]) if name == "image" else row[name])
            if "path" in row:
                feature["path"] = _bytes(str(Path(row["path"].decode()).absolute()).encode())
                feature["digest"] = _bytes(bytes(examples.digests[place]))
            if examples.labels is not None:
                values = np.atleast_1d(examples.labels[place]).astype(np.float64)
                feature["label"] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def read(file: Path) -> Iterator[dict[str, Any]]:
    """The kept examples: dicts of `id` str, `label` [·] float32, and the bytes of what else there is."""
    records = steady(tf.data.TFRecordDataset(str(file))).as_numpy_iterator()
    while True:
        try:
            yield _row(next(records))
        except StopIteration:
            return
        except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
            raise UserError(f"{file} is damaged or not there; copy the run again, or train again") from error


def at(file: Path, places: Collection[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The kept examples at `places`, from 0, each with its place, in order; those behind the last are not read."""
    if not places:
        return
    wanted = tf.constant(sorted(places), tf.int64)
    records = tf.data.TFRecordDataset(str(file)).take(max(places) + 1).enumerate()
    chosen = records.filter(lambda place, _: tf.reduce_any(wanted == place))
    for place, record in steady(chosen).as_numpy_iterator():
        yield int(place), _row(record)


def _row(record: bytes) -> dict[str, Any]:
    feature = tf.train.Example.FromString(record).features.feature
    row: dict[str, Any] = {name: feature[name].bytes_list.value[0] for name in feature if name not in ("id", "label")}
    row["id"] = feature["id"].bytes_list.value[0].decode()
    if "label" in feature:
        row["label"] = np.array(feature["label"].float_list.value, np.float32)
    return row


def examples(file: Path, kind: Kind) -> Columns:
    """The kept examples as a source gives them: labels [N] int64, [N, C] float32 of 0 and 1, or [N] float32, by `kind`."""
    rows = list(read(file))
    inputs: dict[str, Any] = {}
    for name in ("text", "text_pair", "image", "path"):
        if rows and name in rows[0]:
            inputs[name] = np.empty(len(rows), object)
            inputs[name][:] = [row[name] if name == "image" else row[name].decode("utf-8", "replace") for row in rows]
    parts = [[row[name] for name in ("text", "text_pair", "image") if name in row] for row in rows]
    return Columns(
        ids=strings(row["id"] for row in rows),
        inputs=inputs,
        labels=_labels([row["label"] for row in rows], kind) if rows and "label" in rows[0] else None,
        digests=digests(row.get("digest") or digest(*contents) for row, contents in zip(rows, parts, strict=True)),
    )


def image(row: Mapping[str, Any]) -> bytes | Gone:
    """The encoded image of a kept example, or what became of its file since it was kept."""
    if "image" in row:
        return bytes(row["image"])
    try:
        data = Path(row["path"].decode()).read_bytes()
    except OSError:
        return "missing"
    return data if digest(data) == row["digest"] else "changed"


def gone(rows: Columns) -> dict[int, Gone]:
    """What became of the image files of kept examples, by their places; those that are as they were are not among them."""
    found = hash_files(list(rows.inputs.get("path", ())))
    both = enumerate(zip(found, rows.digests.tolist(), strict=False))
    return {place: "missing" if isinstance(now, str) else "changed" for place, (now, then) in both if now != then}


def _labels(values: list[np.ndarray], kind: Kind) -> np.ndarray:
    if kind == "multilabel":
        return np.stack(values)
    numbers = np.concatenate(values)
    return numbers.astype(np.int64) if kind == "classification" else numbers


def _bytes(value: bytes) -> Any:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _encoded(image: Any) -> bytes:
    """The bytes of an encoded image; of an array [H, W(, C)] uint8, those of a PNG."""
    if isinstance(image, bytes):
        return image
    array = np.asarray(image)
    encoded: bytes = tf.io.encode_png(array[..., None] if array.ndim == 2 else array).numpy()
    return encoded
