"""A script, for a process of its own that knows nothing of tfl: what a SavedModel says to kept examples.

    python -P witness.py SAVED_MODEL EXAMPLES ANSWERS

`EXAMPLES` is a file as `tfl.data.kept` writes it. `ANSWERS`, an .npz, gets the outputs of `serving_default` in the order of the
examples, and `changed` and `missing`, the ids of those whose image file is another one now or is not there.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

BATCH = 32


def examples(file: str) -> Iterator[dict[str, Any]]:
    """Ids and raw inputs, as bytes."""
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        yield {name: feature[name].bytes_list.value[0] for name in feature if name != "label"}


def main(saved_model: str, file: str, answers: str) -> None:
    """Asks the SavedModel and writes what it says."""
    if "text" in next(examples(file), {}) and importlib.util.find_spec("tensorflow_text"):
        import tensorflow_text  # noqa: F401  (registers the operations of tokenisers, which TensorFlow Serving has built in)
    serve = tf.saved_model.load(saved_model).signatures["serving_default"]
    inputs = sorted(serve.structured_input_signature[1])
    found: dict[str, list[Any]] = {}
    gone: dict[str, list[str]] = {"changed": [], "missing": []}
    batch: list[dict[str, Any]] = []

    def answer() -> None:
        columns = {name: tf.constant([row[name] for row in batch]) for name in inputs}
        for name, values in serve(**columns).items():
            if name != "class_names" or name not in found:  # every row has the same
                found.setdefault(name, []).append(values.numpy())
        batch.clear()

    for row in examples(file):
        if "path" in row:
            try:
                with open(row["path"], "rb") as opened:
                    row["image"] = opened.read()
            except OSError:
                gone["missing"].append(row["id"].decode())
                continue
            if hashlib.blake2b(row["image"], digest_size=16).hexdigest().encode() != row["digest"]:
                gone["changed"].append(row["id"].decode())
                continue
        row["images"] = row.get("image")
        batch.append(row)
        if len(batch) == BATCH:
            answer()
    if batch:
        answer()
    columns = {name: np.concatenate(parts) for name, parts in found.items()}
    for name, values in columns.items():
        if values.dtype == object:
            columns[name] = np.char.decode(values.astype(bytes), "utf-8")
    columns |= {name: np.array(ids, dtype=str) for name, ids in gone.items()}
    np.savez(answers, allow_pickle=False, **columns)


if __name__ == "__main__":
    main(*sys.argv[1:])
