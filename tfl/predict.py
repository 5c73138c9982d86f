"""Predictions from a model: the forward pass over batches, and the table made of what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tfl.cut import Cut
from tfl.data.batches import Batches
from tfl.distribute import distributed
from tfl.lazy import pd, tf
from tfl.tasks import Task


class Forward:
    """A model's logits over batches that its cut takes, as in inference, on any strategy; traced once."""

    def __init__(self, cut: Cut, strategy: Any) -> None:
        self._cut, self._strategy = cut, strategy
        self._function = tf.function(self._distributed, reduce_retracing=True, autograph=False)
        self._kept: tuple[Batches, Any] | None = None
        """Batches that last, and where they go on; making an iterator takes longer than many batches."""

    def __call__(self, batches: Batches) -> dict[str, np.ndarray]:
        """`{task: logits [N, …]}` in the order of the split's examples, each example once."""
        places: list[np.ndarray] = []
        outputs: dict[str, list[np.ndarray]] = {}
        iterator = self._iterator(batches)
        for _ in range(len(batches)):
            index, logits = self._function(iterator)
            places.append(index.numpy())
            for name, values in logits.items():
                outputs.setdefault(name, []).append(values.numpy())
        if batches.lasts and not batches.training:  # with whole passes alone it stands at the beginning again
            self._kept = batches, iterator
        _, order = np.unique(np.concatenate(places), return_index=True)  # a last batch may have been made up
        return {name: np.concatenate(parts)[order] for name, parts in outputs.items()}

    def _iterator(self, batches: Batches) -> Any:
        kept, self._kept = self._kept, None
        if kept is not None and kept[0] is batches:
            return kept[1]
        return iter(distributed(self._strategy, batches.epoch if batches.training else batches.onwards))

    def _distributed(self, iterator: Any) -> Any:
        # The batch is taken in here so that the shapes are those that the data set has for all of its batches: one trace.
        index, logits = self._strategy.run(self._replica, args=(next(iterator),))
        gather = self._strategy.gather
        return gather(index, axis=0), {name: gather(values, axis=0) for name, values in logits.items()}

    def _replica(self, batch: Mapping[str, Any]) -> Any:
        return batch["index"], self._cut(batch, training=False)


class Watched:
    """The mean loss and the tasks' own metrics over a split, as they are watched from epoch to epoch."""

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self._tasks = tasks
        self._metrics = {name: task.metrics() for name, task in tasks.items()}

    def __call__(self, logits: Mapping[str, np.ndarray], labels: np.ndarray | None) -> dict[str, float]:
        """`{"loss", …}`, for `logits`, [N, …] float32 of each task, and `labels` as `Examples` has them."""
        batch = {"label": tf.constant(labels)}
        result = {"loss": 0.0}
        for name, task in self._tasks.items():
            values = tf.constant(logits[name])
            result["loss"] += float(tf.reduce_mean(task.loss(task.targets(batch), values)))
            for metric in self._metrics[name]:
                metric.reset_state()
                metric.update_state(*task.watch(batch, values))
                result[metric.name] = float(metric.result())
        return result


def table(task: Task, predictions: np.ndarray, ids: Iterable[str], labels: np.ndarray | None = None) -> pd.DataFrame:
    """Predictions as a table, a row an example: `id`, `label` where known, `predicted`, and a probability a class.

    `predictions`: probabilities [N, C] float32, of a regression values [N].
    """
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
            columns["label"] = [_together(names, row >= 0.5) for row in labels]
        columns["predicted"] = [_together(names, row >= 0.5) for row in predictions]  # as `tfl.evaluate` decides
    return pd.DataFrame(columns | {f"p_{name}": predictions[:, place] for place, name in enumerate(names)})


def _together(names: Sequence[str], chosen: np.ndarray) -> str:
    return ";".join(name for name, yes in zip(names, chosen, strict=True) if yes)
