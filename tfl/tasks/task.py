"""The interface of a task, and the head that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from tfl.kinds import Kind
from tfl.lazy import keras


class Task(Protocol):
    """What is predicted from a backbone's features. `batch` is a dict of batched tensors with a `label`."""

    @property
    def kind(self) -> Kind:
        """Which kind of task this is."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in the order of the logits; () for a regression."""

    def head(self, features: Any, name: str) -> Any:
        """Features `[N, D]` to logits (or standardised values) in float32, as Keras tensors of a functional model."""

    def targets(self, batch: Mapping[str, Any], label_smoothing: float = 0.0) -> Any:
        """What the logits should become, in the form that `loss` takes."""

    def weights(self, batch: Mapping[str, Any]) -> Any:
        """The weight of each example in the loss, `[N] float32`."""

    def loss(self, targets: Any, logits: Any) -> Any:
        """The loss of each example, `[N] float32`."""

    def metrics(self) -> list[Any]:
        """New Keras metrics to watch while training; each takes what `watch` gives."""

    def watch(self, batch: Mapping[str, Any], logits: Any) -> tuple[Any, Any]:
        """`(true, predicted)` as the metrics take them."""

    def predictions(self, logits: Any) -> Any:
        """Logits to what is reported: probabilities `[N, C]`, or values `[N]`. Works on tensors and in a saved graph."""


def dense_head(features: Any, *, units: int, hidden: tuple[int, ...], dropout: float, name: str) -> Any:
    """Dropout, hidden layers if any, and a linear layer whose output is float32 under any precision policy."""
    x = features
    for place, width in enumerate(hidden):
        x = keras.layers.Dropout(dropout, name=f"{name}_dropout_{place}")(x)
        x = keras.layers.Dense(width, activation="relu", name=f"{name}_hidden_{place}")(x)
    x = keras.layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return keras.layers.Dense(units, dtype="float32", name=name)(x)


def mixed_targets(batch: Mapping[str, Any], encode: Any) -> Any:
    """`encode(label)`, or its mixture with the partner's label where MixUp or CutMix made one of two examples."""
    return _mixed(batch, encode, lambda share: keras.ops.expand_dims(share, -1))


def mixed_weights(batch: Mapping[str, Any], weigh: Any) -> Any:
    """`weigh(label)`, `[N]`, or its mean with that of the partner, each by its share, where one was made of two examples."""
    return _mixed(batch, weigh, lambda share: share)


def _mixed(batch: Mapping[str, Any], of_label: Any, fitted: Any) -> Any:
    own = of_label(batch["label"])
    if "label_mixed" not in batch:
        return own
    share = fitted(batch["mix_weight"])
    return share * own + (1 - share) * of_label(batch["label_mixed"])


def as_column(weights: tuple[float, ...] | None) -> np.ndarray | None:
    """Class weights as `[C] float32`."""
    return None if weights is None else np.asarray(weights, np.float32)
