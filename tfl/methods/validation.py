"""The validation after an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tfl import models, predict
from tfl.features.extract import Extracted
from tfl.tasks import Task


def validator(extracted: Extracted, made: Mapping[str, Task], strategy: Any) -> Callable[[], dict[str, float]]:
    """What gives the results of the validation split with the model as it is then, its BatchNorm statistics included."""
    from tfl.batch_norm import Reestimator

    part, validation = extracted.cut, extracted.streams["validation"]
    reestimate = Reestimator(part, extracted.streams["train"], strategy) if models.batch_norms(part.model) else None
    forward, watched = predict.Forward(part, strategy), predict.Watched(made)

    def validate() -> dict[str, float]:
        if reestimate is not None:
            reestimate()
        return watched(forward(validation), validation.examples.labels)

    return validate
