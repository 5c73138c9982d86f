"""Labelled data for a model that exists already, the data of a run once more, and examples put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.config import UserError, did_you_mean
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Examples, Modality, Records, Stream, Unreadable
from tfl.data.guess import guess
from tfl.data.splits import Splits, check_records
from tfl.kinds import Kind
from tfl.lazy import tf
from tfl.validate import validate


def label_name(config: DataConfig) -> str:
    """What the labels are called: the label column's name, or `label`."""
    label = getattr(config, "label", None)
    return label if isinstance(label, str) else "label"


@dataclass(frozen=True)
class Reads:
    """What a trained model reads and predicts."""

    modality: Modality
    pairs: bool
    kind: Kind
    class_names: tuple[str, ...]


def splits(config: Mapping[str, Any], fingerprint: str) -> Splits:
    """The data of a run again, whose resolved `config` this is. Raises `UserError` where it cannot be had, or has changed."""
    from tfl import data

    source = config["data"]["source"]
    if source == "memory":
        raise UserError("the run got its data in Python, so that its training and validation examples are not there")
    try:
        found = data.load(validate(data.AnyConfig, config["data"]), config["seed"])
    except (UserError, OSError) as error:
        raise UserError(f"the training and validation examples cannot be read: {error}") from error
    if found.fingerprint != fingerprint:
        raise UserError(f"the data of the source {source} has changed since; train again")
    return found


COLUMNS = ("text", "text_pair", "image", "label", "label_separator")
"""Fields of a source's config that name its columns or features."""

TABLES = ("table", "memory", "earnings_calls")
"""Sources whose fields name columns of a table."""


def labelled(
    source: Any, fields: Mapping[str, Any], own: Mapping[str, Any], reads: Reads
) -> tuple[Examples, tuple[Unreadable, ...]]:
    """The labelled examples of `source` with the labels of a model, and those that cannot be read.

    `source` is a path, a raw config, or data given in Python. Its test split, where it has one; else all of it.
    `fields` are those of its config that are not defaults; `own` is the raw data config that the model was trained
    with, whose columns the other source is taken to have too. Raises `UserError` where the source holds something that
    the model does not read, a class that it does not know, or too much that cannot be read.
    """
    from tfl import data

    stored = isinstance(source, (str, Mapping)) or hasattr(source, "__fspath__")
    raw = (dict(source) if isinstance(source, Mapping) else guess(source)) if stored else {"source": "memory"}
    config = validate(data.AnyConfig, {**_inherited(raw, own, reads.kind), **raw, **fields})
    records = data.SOURCES[config.source].read(config) if stored else data.from_memory(source, config)
    # A source with only a test split is fine here, so that the check sees an (empty) part to train on.
    check_records(dataclasses.replace(records, splits={"all": (), **records.splits}), config)
    _check_fit(records, reads)
    found = [records.splits[name] for name in ("test", "all", "validation", "train") if name in records.splits]
    rows = next((part for part in found if len(part)), None)
    if rows is None:
        raise UserError("no examples found; the source is empty")
    return _relabelled(rows, records, reads.class_names), records.unreadable


def _inherited(raw: Mapping[str, Any], own: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Those fields of the model's own data config that the other source, `raw`, has too."""
    from tfl import data

    name = raw.get("source")
    if name not in data.SOURCES:
        return {}
    known = {field.name for field in dataclasses.fields(data.SOURCES[name].Config)}
    alike = name == own["source"] or (name in TABLES and own["source"] in TABLES)
    found = {key: own.get(key) for key in (*(COLUMNS if alike else ()), "on_error")}
    if name == "earnings_calls" and own["source"] != name and found.get("label") not in ("tone", "kpi", "part"):
        found["label"] = None
    if kind != "multilabel":  # whole numbers would be classes, fractions a regression, whatever the model predicts
        found["kind"] = kind
    if "image" in raw:
        found["text"] = None
    if "text" in raw:
        found["image"] = None
    return {key: value for key, value in found.items() if key in known and value is not None}


def _check_fit(records: Records, reads: Reads) -> None:
    inputs = next((part.inputs for part in records.splits.values() if isinstance(part, Columns)), {})
    if records.modality != reads.modality:
        raise UserError(f"the data holds {records.modality}s, but this run reads {reads.modality}s; name other data")
    if inputs and ("text_pair" in inputs) != reads.pairs:
        have, need = ("pairs of texts", "single texts") if not reads.pairs else ("single texts", "pairs of texts")
        hint = "; name the column of second texts: text_pair" if reads.pairs else "; leave text_pair out"
        raise UserError(f"the data holds {have}, but this run reads {need}{hint}")
    if records.kind != reads.kind:
        raise UserError(
            f"the labels are for {records.kind}, but this run was trained for {reads.kind}; name another label column"
        )


def _relabelled(rows: Examples, records: Records, class_names: Sequence[str]) -> Examples:
    """`rows` with class numbers that count in `class_names`."""
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
