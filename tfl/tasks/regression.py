"""Regression: one number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tfl.kinds import Kind
from tfl.lazy import keras
from tfl.tasks.task import dense_head, mixed_targets


@dataclass(frozen=True, kw_only=True)
class Regression:
    """A linear output, trained with the squared error of standardised labels. Labels are `[N] float32`."""

    mean: float = 0.0
    """Mean of the training labels."""
    scale: float = 1.0
    """Standard deviation of the training labels."""
    dropout: float = 0.2
    hidden: tuple[int, ...] = ()
    class_names: tuple[str, ...] = ()
    kind: ClassVar[Kind] = "regression"

    def head(self, features: Any, name: str) -> Any:
        """Features `[N, D]` to standardised values `[N, 1] float32`."""
        return dense_head(features, units=1, hidden=self.hidden, dropout=self.dropout, name=name)

    def targets(self, batch: Mapping[str, Any], label_smoothing: float = 0.0) -> Any:
        """Standardised labels `[N, 1] float32`; `label_smoothing` has no meaning here."""
        return mixed_targets(batch, lambda label: (keras.ops.cast(label, "float32")[:, None] - self.mean) / self.scale)

    def weights(self, batch: Mapping[str, Any]) -> Any:
        """Ones, `[N] float32`."""
        return keras.ops.ones_like(batch["label"], dtype="float32")

    def loss(self, targets: Any, logits: Any) -> Any:
        """Squared error of each example in units of the labels' variance, `[N] float32`."""
        return keras.losses.mean_squared_error(targets, logits)

    def metrics(self) -> list[Any]:
        """Mean absolute error, in the labels' own units."""
        return [keras.metrics.MeanAbsoluteError(name="mae")]

    def watch(self, batch: Mapping[str, Any], logits: Any) -> tuple[Any, Any]:
        """`(labels [N], predictions [N])`."""
        return keras.ops.cast(batch["label"], "float32"), self.predictions(logits)

    def predictions(self, logits: Any) -> Any:
        """Values `[N] float32`, in the labels' own units."""
        return logits[:, 0] * self.scale + self.mean
