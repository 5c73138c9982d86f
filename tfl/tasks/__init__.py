"""What is predicted: a head, its targets, a loss, its metrics. One kind of task a file; `TASKS` names them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tfl.config import UserError, did_you_mean, require
from tfl.kinds import AnyKind
from tfl.tasks import classification, multilabel, regression
from tfl.tasks.task import Task

TASKS = {
    "classification": classification.Classification,
    "multilabel": multilabel.MultiLabel,
    "regression": regression.Regression,
}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is predicted, and the head that predicts it."""

    kind: AnyKind = "auto"
    """auto: what the labels are."""
    dropout: float = 0.2
    """Part of the features, 0 to 1, that the head drops while it trains."""
    hidden: tuple[int, ...] = ()
    """Units of hidden layers between the features and the logits."""
    class_weight: Literal["balanced"] | dict[str, float] | None = field(default=None)
    """Weight of each class's examples in the loss: balanced (inverse to its count), or {class name: weight}."""

    def __post_init__(self) -> None:
        weights = self.class_weight if isinstance(self.class_weight, dict) else {}
        for name, weight in weights.items():
            if not 0 < weight < math.inf:
                raise UserError(f"class_weight.{name}: {weight!r} is not valid; above 0")
        require(
            self,
            {
                "dropout": (0 <= self.dropout < 1, "from 0 to below 1"),
                "hidden": (all(units > 0 for units in self.hidden), "numbers of units, each at least 1"),
            },
        )


def make(config: Config, kind: str, class_names: tuple[str, ...], labels: np.ndarray) -> Task:
    """The task for data whose labels are of `kind`; `labels` are those of the training examples.

    Raises `UserError` where the config asks for another kind than the data is, or weighs classes that are not there.
    """
    if config.kind not in ("auto", kind):
        raise UserError(
            f"task.kind: {config.kind!r} does not fit these labels, which are for {kind}; leave it out, or choose the label "
            f"column that holds what you want to predict"
        )
    weights = _class_weights(config, kind, class_names, labels)
    shape: dict[str, Any] = {"dropout": config.dropout, "hidden": config.hidden}
    if kind == "regression":
        return regression.Regression(**shape, mean=float(np.mean(labels)), scale=float(np.std(labels)) or 1.0)
    if kind == "multilabel":
        return multilabel.MultiLabel(**shape, class_names=class_names, class_weights=weights)
    return classification.Classification(**shape, class_names=class_names, class_weights=weights)


def _class_weights(config: Config, kind: str, class_names: tuple[str, ...], labels: np.ndarray) -> tuple[float, ...] | None:
    if config.class_weight is None:
        return None
    if kind == "regression":
        raise UserError("task.class_weight: a regression has no classes to weigh; leave it out")
    if config.class_weight == "balanced":
        counts = np.bincount(labels, minlength=len(class_names)) if kind == "classification" else labels.sum(axis=0)
        return tuple(float(w) for w in len(labels) / (len(class_names) * np.maximum(counts, 1)))
    assert isinstance(config.class_weight, dict)
    for name in config.class_weight:
        if name not in class_names:
            raise UserError(
                f"task.class_weight.{name}: no such class{did_you_mean(name, class_names)}; classes: {', '.join(class_names)}"
            )
    return tuple(float(config.class_weight.get(name, 1.0)) for name in class_names)


__all__ = ["TASKS", "Config", "Task", "make"]
