"""Multi-label classification: any number of classes at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfl.kinds import Kind
from tfl.lazy import keras
from tfl.tasks.task import as_column, dense_head, mixed_targets, mixed_weights


@dataclass(frozen=True, kw_only=True)
class MultiLabel:
    """A sigmoid for each of `class_names`, trained with binary cross-entropy. Labels are `[N, C] float32` of 0 and 1."""

    class_names: tuple[str, ...]
    dropout: float = 0.2
    hidden: tuple[int, ...] = ()
    class_weights: tuple[float, ...] | None = None
    kind: ClassVar[Kind] = "multilabel"

    def head(self, features: Any, name: str) -> Any:
        """Features `[N, D]` to logits `[N, C] float32`."""
        return dense_head(features, units=len(self.class_names), hidden=self.hidden, dropout=self.dropout, name=name)

    def targets(self, batch: Mapping[str, Any], label_smoothing: float = 0.0) -> Any:
        """Probabilities `[N, C] float32`, drawn towards one half by `label_smoothing`."""
        targets = mixed_targets(batch, lambda label: keras.ops.cast(label, "float32"))
        return targets * (1 - label_smoothing) + label_smoothing / 2 if label_smoothing else targets

    def weights(self, batch: Mapping[str, Any]) -> Any:
        """The mean weight of each example's classes, `[N] float32`; 1 for an example that has none; of two that are mixed,
        the mean by their shares.
        """
        column = as_column(self.class_weights)
        if column is None:
            return keras.ops.ones_like(batch["label"][:, 0], dtype="float32")

        def mean(label: Any) -> Any:
            label = keras.ops.cast(label, "float32")
            count = keras.ops.sum(label, axis=-1)
            return keras.ops.where(count > 0, keras.ops.sum(label * column, axis=-1) / keras.ops.maximum(count, 1), 1.0)

        return mixed_weights(batch, mean)

    def loss(self, targets: Any, logits: Any) -> Any:
        """Mean binary cross-entropy over the classes of each example, `[N] float32`."""
        return keras.losses.binary_crossentropy(targets, logits, from_logits=True)

    def metrics(self) -> list[Any]:
        """The part of all (example, class) decisions that are right."""
        return [keras.metrics.BinaryAccuracy(name="label_accuracy", threshold=0.0)]

    def watch(self, batch: Mapping[str, Any], logits: Any) -> tuple[Any, Any]:
        """`(0 and 1 [N, C], logits [N, C])`."""
        return batch["label"], logits

    def predictions(self, logits: Any) -> Any:
        """Probabilities `[N, C] float32`, each by itself."""
        return keras.ops.sigmoid(logits)
