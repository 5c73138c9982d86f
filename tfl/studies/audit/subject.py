"""The run that is audited: its examples, found again, and what it predicts for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data import again, kept
from tfl.data import image as images
from tfl.data.batches import stream_seed
from tfl.data.examples import Columns, Examples, digest, digests, strings
from tfl.data.splits import Splits
from tfl.directory import EXAMPLES, PREDICTIONS
from tfl.kinds import Kind
from tfl.lazy import pd, tf
from tfl.run import Run
from tfl.tasks import Task

LIMIT = 128
"""Examples, at most, that are predicted again and again."""
ONCE = 4
"""Times as many where each is predicted once."""
STORED = 16
"""Times as many where each has frozen features, which the store keeps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """Examples and what a run predicts for them."""

    rows: Examples
    labels: np.ndarray
    """`[N] int64`, `[N, C]` of 0 and 1, or `[N]` numbers, by the kind of task."""
    predictions: np.ndarray
    """`[N, C]` probabilities, or `[N]` numbers."""

    def take(self, places: np.ndarray) -> Predicted:
        """Those at `places`, ascending."""
        return Predicted(rows=self.rows.take(places), labels=self.labels[places], predictions=self.predictions[places])


class Subject:
    """A run, and what an audit needs of it; everything is read or computed once."""

    def __init__(self, run: Run, limit: int = LIMIT) -> None:
        self.run, self.limit = run, limit
        self.config = run.report.config
        self.seed = int(self.config.get("seed", 0))
        self.name, self.task = next(iter(run.facts.tasks.items()))
        self._parts: dict[str, Predicted] = {}

    @property
    def kind(self) -> Kind:
        """classification | multilabel | regression"""
        return self.task.kind

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.task.class_names

    @cached_property
    def test(self) -> Predicted:
        """The test split as it was evaluated, without images whose file is gone or another one now."""
        folder = self.run.directory
        for name in (EXAMPLES, PREDICTIONS):
            if not (folder / name).is_file():
                raise UserError(f"{folder / name} is not there, and an audit rests on it; train again")
        rows = kept.examples(folder / EXAMPLES, self.kind)
        table = pd.read_csv(folder / PREDICTIONS, dtype={"id": str}, keep_default_na=False)
        if table["id"].tolist() != rows.ids.tolist():
            raise UserError(f"{folder}: {EXAMPLES} and {PREDICTIONS} are not of the same run; train again")
        columns = [f"p_{name}" for name in self.classes] or ["predicted"]
        found = table[columns].to_numpy(np.float64)
        predictions = found[:, 0] if self.kind == "regression" else found
        labels = np.asarray(rows.labels, np.int64 if self.kind == "classification" else np.float64)
        whole = Predicted(rows=rows, labels=labels, predictions=predictions)
        return whole.take(np.setdiff1d(np.arange(len(rows)), list(kept.gone(rows))))

    @cached_property
    def splits(self) -> Splits:
        """What the run was trained on. Raises `UserError` where that cannot be had again."""
        return again.splits(self.config, self.run.report.data["fingerprint"])

    def part(self, name: str) -> Predicted:
        """Some of the `train` or `validation` split, at most `ONCE * limit`, drawn by the seed, with predictions."""
        if name not in self._parts:
            rows = getattr(self.splits, name)
            rows = rows.take(self.sample(len(rows), ONCE * self.limit, name))
            self._parts[name] = Predicted(rows=rows, labels=np.asarray(rows.labels), predictions=self.run.predictions(rows))
        return self._parts[name]

    def sample(self, count: int, most: int, *key: str) -> np.ndarray:
        """At most `most` of `count` positions, ascending, by the run's seed and `key`."""
        if count <= most:
            return np.arange(count)
        return np.sort(self.random(*key).choice(count, most, replace=False))

    def random(self, *key: str | int) -> np.random.Generator:
        """Random numbers that depend on the run's seed and `key` alone."""
        number = int(digest(*(str(one).encode() for one in key))[:8], 16)
        return np.random.default_rng(stream_seed(self.seed, number))

    def scores(self, one: Predicted) -> np.ndarray:
        """`[N]`, higher is better: see `scores`."""
        return scores(self.task, one.labels, one.predictions, float(np.std(self.test.labels)) or 1.0)

    def pixels(self, rows: Examples) -> np.ndarray:
        """`[N, H, W, 3] uint8`: the images as large as the backbone takes them."""
        size, mode = self.run.preprocess.size, self.run.facts.resize
        load = tf.autograph.experimental.do_not_convert(lambda row: images.load_resized(row, size, mode)["image"])
        loaded = rows.dataset().map(load, num_parallel_calls=tf.data.AUTOTUNE)
        return np.stack([np.rint(image).astype(np.uint8) for image in loaded.as_numpy_iterator()])

    def of_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Predictions for `[N, H, W, 3] uint8`."""
        return self.run.predictions(_changed({"image": pixels}), stored=False)

    def texts(self, rows: Examples) -> dict[str, list[str]]:
        """`text`, and `text_pair` where the run reads pairs."""
        found: dict[str, list[str]] = {}
        for row in rows.dataset().as_numpy_iterator():
            for name in ("text", "text_pair"):
                if name in row:
                    found.setdefault(name, []).append(row[name].decode("utf-8", "replace"))
        return found

    def of_texts(self, texts: dict[str, list[str]]) -> np.ndarray:
        """Predictions for such texts."""
        return self.run.predictions(_changed({name: strings(values) for name, values in texts.items()}), stored=False)


def scores(task: Task, labels: np.ndarray, predictions: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """`[N]`, higher is better: 1 where the class, or every label of several, is right, else 0; of a regression minus the
    absolute error in units of `scale`.
    """
    if task.kind == "classification":
        return (predictions.argmax(axis=1) == labels).astype(np.float64)
    if task.kind == "multilabel":
        return ((predictions >= 0.5) == (labels >= 0.5)).all(axis=1).astype(np.float64)
    found: np.ndarray = -np.abs(predictions - labels) / scale
    return found


def measure(task: Task) -> str:
    """What the mean of `scores` is called."""
    if task.kind == "regression":
        return "minus the mean absolute error, in standard deviations of the test labels"
    return "accuracy"


def need(subject: Subject, what: str, kinds: Sequence[str]) -> None:
    """Raises `UserError` where `what` is not defined for the task."""
    if subject.kind not in kinds:
        raise UserError(f"{what}: not for a run that is for {subject.kind}, only for {' and '.join(kinds)}")


def _changed(inputs: dict[str, Any]) -> Columns:
    """Examples that are of no source."""
    count = len(next(iter(inputs.values())))
    ids = strings(map(str, range(count)))
    return Columns(ids=ids, inputs=inputs, labels=None, digests=digests(digest(one.encode()) for one in ids))


def taken(examples: Examples, most: int) -> Examples:
    """The first `most` of `examples`, without labels."""
    chosen = examples.take(np.arange(min(len(examples), most)))
    return dataclasses.replace(chosen, labels=None)


__all__ = ["LIMIT", "ONCE", "STORED", "Predicted", "Subject", "measure", "need", "scores", "taken"]
