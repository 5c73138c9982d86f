"""Predictions from a model: over the batches of a split, or over files and texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data.examples import Columns
from tfl.data.pipeline import Batches
from tfl.lazy import keras, pd, tf
from tfl.tasks import Task


class Forward:
    """A model's logits over batches, as in inference, on any strategy; traced once."""

    def __init__(self, model: keras.Model, strategy: Any) -> None:
        self._model, self._strategy = model, strategy
        self._function = tf.function(self._distributed, reduce_retracing=True, autograph=False)

    def __call__(self, batches: Batches) -> dict[str, np.ndarray]:
        """`{task: logits [N, …]}` in the order of the split's examples, each example once."""
        places: list[np.ndarray] = []
        outputs: dict[str, list[np.ndarray]] = {}
        for batch in self._strategy.experimental_distribute_dataset(batches.epoch()):
            index, logits = self._function(batch)
            places.append(index.numpy())
            for name, values in logits.items():
                outputs.setdefault(name, []).append(values.numpy())
        order = np.argsort(np.concatenate(places), kind="stable")
        return {name: np.concatenate(parts)[order] for name, parts in outputs.items()}

    def _distributed(self, batch: Mapping[str, Any]) -> Any:
        index, logits = self._strategy.run(self._replica, args=(batch,))
        gather = self._strategy.gather
        return gather(index, axis=0), {name: gather(values, axis=0) for name, values in logits.items()}

    def _replica(self, batch: Mapping[str, Any]) -> Any:
        return batch["index"], self._model({name: batch[name] for name in self._model.input}, training=False)


def watched(tasks: Mapping[str, Task], logits: Mapping[str, np.ndarray], labels: np.ndarray | None) -> dict[str, float]:
    """The mean loss and the tasks' own metrics over a split, as they are watched from epoch to epoch."""
    batch = {"label": tf.constant(labels)}
    result = {"loss": 0.0}
    for name, task in tasks.items():
        result["loss"] += float(tf.reduce_mean(task.loss(task.targets(batch), tf.constant(logits[name]))))
        for metric in task.metrics():
            metric.update_state(*task.watch(batch, tf.constant(logits[name])))
            result[metric.name] = float(metric.result())
    return result


def table(task: Task, predictions: np.ndarray, ids: Iterable[str], labels: np.ndarray | None = None) -> pd.DataFrame:
    """Predictions as a table, a row an example: `id`, `label` where known, `predicted`, and a probability a class."""
    columns: dict[str, Any] = {"id": list(ids)}
    names = task.class_names
    if task.kind == "regression":
        return pd.DataFrame(columns | ({} if labels is None else {"label": labels}) | {"predicted": predictions})
    if task.kind == "classification":
        if labels is not None:
            columns["label"] = [names[place] for place in labels]
        columns["predicted"] = [names[place] for place in predictions.argmax(axis=-1)]
        columns["probability"] = predictions.max(axis=-1)
    else:
        if labels is not None:
            columns["label"] = [_together(names, row > 0.5) for row in labels]
        columns["predicted"] = [_together(names, row > 0.5) for row in predictions]
    return pd.DataFrame(columns | {f"p_{name}": predictions[:, place] for place, name in enumerate(names)})


def _together(names: Sequence[str], chosen: np.ndarray) -> str:
    return ";".join(name for name, yes in zip(names, chosen, strict=True) if yes)


def examples(inputs: Any, modality: str) -> tuple[Columns, list[tuple[str, str]]]:
    """Unlabelled examples from what a caller has, and those that could not be read with the reason.

    Images: paths, or an array `[N, H, W, 3] uint8`. Texts: strings, or pairs of strings.
    """
    if modality == "text":
        return _texts(inputs), []
    if isinstance(inputs, np.ndarray) and inputs.ndim >= 3:
        ids = np.asarray([str(place) for place in range(len(inputs))], object)
        return _columns(ids, {"image": inputs}), []
    from tfl.data.image import unreadable

    paths = [str(path) for path in ([inputs] if isinstance(inputs, (str, Path)) else inputs)]
    bad = dict(unreadable(paths))
    good = np.asarray([path for place, path in enumerate(paths) if place not in bad], object)
    return _columns(good, {"path": good}), [(paths[place], reason) for place, reason in bad.items()]


def _texts(inputs: Any) -> Columns:
    rows = [inputs] if isinstance(inputs, str) else list(inputs)
    ids = np.asarray([str(place) for place in range(len(rows))], object)
    if rows and not isinstance(rows[0], str):
        first, second = (np.asarray(part, object) for part in zip(*rows, strict=True))
        return _columns(ids, {"text": first, "text_pair": second})
    return _columns(ids, {"text": np.asarray(rows, object)})


def _columns(ids: np.ndarray, inputs: dict[str, Any]) -> Columns:
    if not len(ids):
        raise UserError("there is nothing to predict: no readable example was given")
    return Columns(ids=ids, inputs=inputs, labels=None, digests=np.zeros(len(ids), "S32"))
