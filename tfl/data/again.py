"""Labelled data for a model that exists already, and examples put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfl.config import UserError, did_you_mean, validate
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Examples, Records, Stream
from tfl.data.guess import guess
from tfl.lazy import tf


def label_name(config: DataConfig) -> str:
    """What the labels are called, as a name that a Keras layer can have: the label column's, or `label`."""
    label = getattr(config, "label", None)
    word = label if isinstance(label, str) else "label"
    return "".join(letter if letter.isalnum() else "_" for letter in word) or "label"


def labelled(source: Any, fields: Mapping[str, Any], class_names: Sequence[str]) -> Examples:
    """The labelled examples of `source`, a path, a raw config, or data given in Python, with the labels of a model.

    Its test split, where it has one; else all of it. `fields` are those of its config that are not defaults. Raises
    `UserError` where it holds a class that is not among `class_names`.
    """
    from tfl import data

    if isinstance(source, (str, Mapping)) or hasattr(source, "__fspath__"):
        raw = dict(source) if isinstance(source, Mapping) else guess(source)
        config = validate(data.AnyConfig, {**raw, **fields})
        records = data.SOURCES[config.source].read(config, 0)
    else:
        records = data.from_memory(source, validate(data.AnyConfig, {"source": "memory", **fields}), 0)
    found = records.splits
    rows = found.get("test") or found.get("all") or found.get("validation") or found["train"]
    return _relabelled(rows, records, class_names)


def _relabelled(rows: Examples, records: Records, class_names: Sequence[str]) -> Examples:
    """`rows` with class numbers that count in `class_names`."""
    import dataclasses

    if records.kind == "regression" or tuple(records.class_names) == tuple(class_names):
        return rows
    for name in records.class_names:
        if name not in class_names:
            raise UserError(
                f"the data holds the class {name!r}, which the model does not know{did_you_mean(name, class_names)}; "
                f"its classes: {', '.join(class_names)}"
            )
    places = np.asarray([list(class_names).index(name) for name in records.class_names])
    assert rows.labels is not None
    if rows.labels.ndim == 1:
        return dataclasses.replace(rows, labels=places[rows.labels].astype(np.int64))
    labels = np.zeros((len(rows), len(class_names)), np.float32)
    labels[:, places] = rows.labels
    return dataclasses.replace(rows, labels=labels)


def concatenate(first: Examples, second: Examples) -> Examples:
    """The examples of both. Raises `UserError` for streams that are not parts of one."""
    if isinstance(first, Columns) and isinstance(second, Columns):
        return Columns(
            ids=np.concatenate([first.ids, second.ids]),
            inputs={name: _joined(first.inputs[name], second.inputs[name]) for name in first.inputs},
            labels=None if first.labels is None else np.concatenate([first.labels, second.labels]),
            digests=np.concatenate([first.digests, second.digests]),
        )
    if isinstance(first, Stream) and isinstance(second, Stream) and first.open is second.open:
        order = np.argsort(np.concatenate([first.positions, second.positions]))
        both = {name: np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in ("ids", "digests")}
        labels = None if first.labels is None else np.concatenate([first.labels, second.labels])[order]
        positions = np.concatenate([first.positions, second.positions])[order]
        return Stream(**both, labels=labels, positions=positions, open=first.open)
    raise UserError("folds: this source brings train and validation as separate streams; set folds: 0")


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    return tf.concat([first, second], axis=0)
