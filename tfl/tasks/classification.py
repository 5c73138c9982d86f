"""Single-label classification: one class of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfl.kinds import Kind
from tfl.lazy import keras
from tfl.tasks.task import as_column, dense_head, mixed_targets, mixed_weights


@dataclass(frozen=True, kw_only=True)
class Classification:
    """A softmax over `class_names`, trained with cross-entropy. Labels are class indices, `[N] int64`."""

    class_names: tuple[str, ...]
    dropout: float = 0.2
    hidden: tuple[int, ...] = ()
    class_weights: tuple[float, ...] | None = None
    kind: ClassVar[Kind] = "classification"

    def head(self, features: Any, name: str) -> Any:
        """Features `[N, D]` to logits `[N, C] float32`."""
        return dense_head(features, units=len(self.class_names), hidden=self.hidden, dropout=self.dropout, name=name)

    def targets(self, batch: Mapping[str, Any], label_smoothing: float = 0.0) -> Any:
        """Class probabilities `[N, C] float32`, of which `label_smoothing` is spread evenly (Szegedy et al. 2016)."""
        classes = len(self.class_names)
        targets = mixed_targets(batch, lambda label: keras.ops.one_hot(label, classes, dtype="float32"))
        return targets * (1 - label_smoothing) + label_smoothing / classes if label_smoothing else targets

    def weights(self, batch: Mapping[str, Any]) -> Any:
        """The weight of each example's class, `[N] float32`; of two that are mixed, the mean by their shares."""
        column = as_column(self.class_weights)
        if column is None:
            return keras.ops.ones_like(batch["label"], dtype="float32")
        return mixed_weights(batch, lambda label: keras.ops.take(column, label, axis=0))

    def loss(self, targets: Any, logits: Any) -> Any:
        """Cross-entropy of each example, `[N] float32`."""
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)

    def metrics(self) -> list[Any]:
        """Accuracy."""
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    def watch(self, batch: Mapping[str, Any], logits: Any) -> tuple[Any, Any]:
        """`(class indices [N], logits [N, C])`."""
        return batch["label"], logits

    def predictions(self, logits: Any) -> Any:
        """Probabilities `[N, C] float32`."""
        return keras.ops.softmax(logits, axis=-1)
