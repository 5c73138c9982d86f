"""Data given in Python: a DataFrame, or arrays, texts or image paths with their labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tfl.config import UserError
from tfl.data.cells import in_short, missing, read_texts
from tfl.data.examples import Columns, Records, Unreadable, digest, digests, strings
from tfl.data.files import EXTENSIONS, image_files
from tfl.data.given import named_columns
from tfl.data.labels import attach, read_labels
from tfl.data.table import ColumnConfig
from tfl.lazy import tf


@dataclass(frozen=True, kw_only=True)
class Config(ColumnConfig):
    """What holds for data that no file name can stand for; the columns are those of a DataFrame."""

    source: Literal["memory"] = "memory"
    content: Literal["auto", "text", "path"] = "auto"
    """What a list of strings holds: texts, or paths of images; auto: paths where each ends like an image file."""


def read(config: Config) -> Records:
    """Raises a `UserError`: the data of such a config was in the memory of another process."""
    raise UserError(
        "source: memory: this run's data was given in Python and is not stored with it; give the data again "
        "(run.evaluate(data), or a file or folder on the command line)"
    )


def from_memory(data: Any, config: Config | None = None) -> Records:
    """Records from a pandas `DataFrame` (columns as in `config`) or from a pair `(inputs, labels)`.

    `inputs` is an array of images, [N, H, W] or [N, H, W, C], uint8 or floats in 0..1 or 0..255; or a list of texts
    or of paths of images. `labels` is a list or array of N classes or numbers, or [N, C] of 0 and 1.
    """
    config = config or Config()
    if hasattr(data, "columns") and hasattr(data, "iloc"):
        from tfl.data.frames import Part, frame_records

        frame = named_columns(data.reset_index(drop=True))
        return frame_records([Part(name="all", frame=frame, origin="row", folder=Path())], config)
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        kind = type(data).__name__
        raise UserError(f"data: {kind} is not valid; a path, a DataFrame, or a pair (inputs, labels)")
    inputs, raw = (value.numpy() if isinstance(value, tf.Tensor) else value for value in data)
    for value in (inputs, raw):
        if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
            raise UserError(f"data: {in_short(value)} is not valid; a pair (inputs, labels), each an array or a list")
    inputs = inputs if isinstance(inputs, np.ndarray) else list(inputs)
    examples, kept, unreadable = _inputs(inputs, config)
    given = raw if hasattr(raw, "ndim") else list(raw)
    if len(given) != len(inputs):
        raise UserError(f"data: {len(inputs)} inputs, but {len(given)} labels; there must be one for each")
    values = given.to_numpy() if hasattr(given, "to_numpy") else given
    listed = np.asarray(values) if getattr(values, "ndim", 1) == 2 else list(values)
    chosen = listed[kept] if isinstance(listed, np.ndarray) else [listed[place] for place in kept]
    labels = read_labels(chosen, config.kind)
    splits, wrong = attach({"all": examples}, labels)
    return Records(
        splits=splits,
        class_names=labels.class_names,
        modality="text" if "text" in examples.inputs else "image",
        kind=labels.kind,
        unreadable=(*unreadable, *wrong),
    )


def _inputs(inputs: Any, config: Config) -> tuple[Columns, np.ndarray, list[Unreadable]]:
    """The readable inputs without labels, their positions, and the unreadable ones."""
    from tfl.data.npz import image_arrays, pixels_of

    if len(inputs) == 0:
        raise UserError("data: no examples")
    first = next((value for value in inputs if not missing(value)), None)
    if isinstance(first, (str, os.PathLike)):
        _check_alike(inputs)
        values = ["" if missing(value) else os.fspath(value) for value in inputs]
        ids = [f"row:{place}" for place in range(1, len(values) + 1)]
        if config.content == "path" or (config.content == "auto" and _are_paths(inputs)):
            return image_files(values, ids)
        return _texts(values, ids)
    _check_pixels(first)
    if not isinstance(inputs, np.ndarray):
        _check_shapes(inputs)
    images = pixels_of(np.asarray(inputs), "inputs")
    return image_arrays(images, "array"), np.arange(len(images)), []


NEEDED = (
    "needed are texts, paths of images, or arrays of pixels; pairs of texts come in a DataFrame, with "
    'data={"text": COLUMN, "text_pair": COLUMN, "label": COLUMN}'
)


def _check_alike(inputs: Sequence[Any]) -> None:
    """Raises `UserError` for the first of texts or paths that is neither one nor missing."""
    for place, value in enumerate(inputs):
        if not isinstance(value, (str, os.PathLike)) and not missing(value):
            raise UserError(f"data: input {place} is {in_short(value)}; {NEEDED}")


def _check_pixels(value: Any) -> None:
    """Raises `UserError` where `value`, the first input that is not missing, holds no numbers."""
    numbers = np.asarray(value, None if hasattr(value, "__array__") else object).ravel()[:1].tolist()
    if not numbers or not isinstance(numbers[0], (bool, int, float)):
        raise UserError(f"data: an input is {in_short(value)}; {NEEDED}")


def _check_shapes(inputs: Sequence[Any]) -> None:
    """Raises `UserError` for arrays that are not of one shape."""
    shapes = list(dict.fromkeys(np.shape(value) for value in inputs if not missing(value)))
    if len(shapes) > 1 or any(map(missing, inputs)):
        told = f"arrays of different shapes, {shapes[0]} and {shapes[1]}" if len(shapes) > 1 else "a missing array"
        raise UserError(f"inputs: {told}, which make no batch; resize them to one shape, leave out gaps, or give files")


def _are_paths(values: Sequence[Any]) -> bool:
    there = [value for value in values if not missing(value)]
    return all(isinstance(value, os.PathLike) or str(value).lower().endswith(EXTENSIONS) for value in there)


def _texts(values: list[str], ids: list[str]) -> tuple[Columns, np.ndarray, list[Unreadable]]:
    texts, wrong = read_texts(values)
    kept = np.array([place for place in range(len(texts)) if place not in wrong], dtype=np.int64)
    columns = Columns(
        ids=strings(ids[place] for place in kept),
        inputs={"text": strings(texts[place] for place in kept)},
        labels=None,
        digests=digests(digest(texts[place].encode()) for place in kept),
    )
    return columns, kept, [Unreadable(ids[place], reason) for place, reason in wrong.items()]
