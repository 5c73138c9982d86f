"""Examples as the tensors that a model file takes: those that a certificate rests on, and those that int8 is calibrated on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfl import backbones
from tfl.config import UserError
from tfl.data import again, kept
from tfl.data.examples import Columns, Examples, digest, digests, strings
from tfl.data.pipeline import prepare

if TYPE_CHECKING:
    from tfl.run import Run

BATCH = 32
CALIBRATED = 256
"""Training examples, at most, from which int8 takes the ranges of the activations."""


def of_kept(file: Path, preprocess: Path, about: Mapping[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """Writes the kept examples in `file` to `folder`, an .npz a batch, preprocessed as `preprocess` has it.

    `about`: the `modality` and `resize` of the run. Returns `missing` and `changed`, the ids of those that are left out
    because their image file is not there or another one now.
    """
    gone: dict[str, list[str]] = {"missing": [], "changed": []}
    rows = []
    for row in kept.read(file):
        found = kept.image(row) if "path" in row else b""
        if isinstance(found, bytes):
            rows.append(row)
        else:
            gone[found].append(row["id"])
    if rows:
        batches = inputs(_columns(rows), backbones.load_preprocess(preprocess), about["modality"], about["resize"])
        for number, batch in enumerate(batches):
            np.savez(folder / f"{number:06}.npz", allow_pickle=False, **batch)
    return {name: np.array(ids, dtype=str) for name, ids in gone.items()}


def inputs(
    examples: Examples, preprocess: Any, modality: str, resize: Any, batch_size: int = BATCH
) -> Iterator[dict[str, np.ndarray]]:
    """The model's inputs for `examples`, in order: `image [N, h, w, 3] float32`, or token ids and masks `[N, L] int32`."""
    batches = prepare(examples, preprocess, modality=modality, batch_size=batch_size, resize=resize)
    for batch in batches.in_order().as_numpy_iterator():
        yield {name: values for name, values in batch.items() if name not in ("index", "label", "share")}


def training_examples(run: Run) -> Examples:
    """Some of the examples that `run` trained on, spread over all of them, found through its config.

    Raises `UserError` where they cannot be had again: data given in Python, or files that have changed since.
    """
    try:
        splits = again.splits(run.report.config, run.report.data["fingerprint"])
    except UserError as error:
        why = "it takes the ranges of activations from the run's training examples"
        raise UserError(f"quantize int8: {why}: {error}; or take dynamic") from error
    count = len(splits.train)
    return splits.train.take(np.unique(np.linspace(0, count - 1, min(count, CALIBRATED)).astype(np.int64)))


def _columns(rows: list[dict[str, Any]]) -> Columns:
    names = [name for name in ("text", "text_pair", "image", "path") if name in rows[0]]
    found: dict[str, Any] = {name: np.empty(len(rows), object) for name in names}
    for name in names:
        found[name][:] = [row[name] if name == "image" else row[name].decode() for row in rows]
    return Columns(
        ids=strings(row["id"] for row in rows),
        inputs=found,
        labels=None,
        digests=digests(digest(row["id"].encode()) for row in rows),
    )
