"""Learning rates over a phase."""

from __future__ import annotations

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="tfl")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """From 0 up to `peak` over the warm-up, then down to 0 at step `steps` along a cosine or a line, or constant.

    The cosine is that of Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """

    def __init__(self, peak: float, steps: int, *, warmup: float = 0.0, shape: str = "cosine") -> None:
        self.peak, self.steps, self.warmup, self.shape = peak, steps, warmup, shape

    def __call__(self, step: Any) -> Any:
        """The learning rate of step number `step`, counted from 0."""
        ops = keras.ops
        step = ops.cast(step, "float32")
        rising = max(round(self.steps * self.warmup), 0)
        rise = ops.minimum((step + 1.0) / max(rising, 1), 1.0)
        done = ops.clip((step - rising) / max(self.steps - rising, 1), 0.0, 1.0)
        if self.shape == "cosine":
            fall = 0.5 * (1.0 + ops.cos(math.pi * done))
        else:
            fall = 1.0 - done if self.shape == "linear" else 1.0
        return self.peak * rise * fall

    def get_config(self) -> dict[str, Any]:
        """What makes an equal schedule."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "shape": self.shape}



