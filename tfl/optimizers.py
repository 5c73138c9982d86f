"""Optimizers of a phase, and their learning rates."""

from __future__ import annotations

import math
from typing import Any

from tfl.lazy import keras, tf
from tfl.models import Group
from tfl.phases import Phase


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
        rising = round(self.steps * self.warmup)
        rise = ops.minimum((step + 1.0) / rising, 1.0) if rising else 1.0
        done = ops.clip((step - rising) / max(self.steps - rising, 1), 0.0, 1.0)
        if self.shape == "cosine":
            fall = 0.5 * (1.0 + ops.cos(math.pi * done))
        else:
            fall = 1.0 - done if self.shape == "linear" else 1.0
        return self.peak * rise * fall

    def get_config(self) -> dict[str, Any]:
        """What makes an equal schedule."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "shape": self.shape}


class Adam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980), and with `decay` AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).

    The step is one operation, that of TensorFlow, and one more for the decay, which biases and norms are spared. Keras makes
    a dozen of them, each of which reads and writes arrays of the size of the variable. Values agree but for rounding.
    """

    def __init__(self, learning_rate: Any, decay: float = 0.0) -> None:
        super().__init__(learning_rate)
        self.decay = decay

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Updates the variables; what is the same for all of them is computed once."""
        step = tf.cast(self.iterations + 1, tf.float32)
        self._powers = tf.pow(self.beta_1, step), tf.pow(self.beta_2, step)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates `variable`, a `tf.Variable`, and its moments; what Keras calls."""
        kind = variable.dtype
        number = self._get_variable_index(variable)
        if self.decay and len(variable.shape) > 1:
            variable.assign(variable * tf.cast(1 - learning_rate * self.decay, kind))
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[number].value.handle,
            v=self._velocities[number].value.handle,
            beta1_power=tf.cast(self._powers[0], kind),
            beta2_power=tf.cast(self._powers[1], kind),
            lr=tf.cast(learning_rate, kind),
            beta1=tf.constant(self.beta_1, kind),
            beta2=tf.constant(self.beta_2, kind),
            epsilon=tf.constant(self.epsilon, kind),
            grad=tf.cast(gradient, kind),
        )


def optimizer(phase: Phase, group: Group, steps: int) -> Any:
    """The Keras optimizer of one group of variables, with the phase's schedule over `steps` steps."""
    peak = phase.learning_rate * group.scale
    rate = Schedule(peak, steps, warmup=phase.warmup, shape=phase.schedule)
    kinds = keras.optimizers
    if phase.optimizer == "sgd":
        made = kinds.SGD(rate, momentum=0.9, nesterov=True, weight_decay=phase.weight_decay or None)
    elif phase.optimizer == "rmsprop":
        made = kinds.RMSprop(rate)
    elif phase.optimizer == "lion":
        made = kinds.Lion(rate, weight_decay=phase.weight_decay)
    else:
        made = Adam(rate, decay=phase.weight_decay if phase.optimizer == "adamw" else 0.0)
    if made.weight_decay is not None:
        made.exclude_from_weight_decay(var_list=[v for v in group.variables if len(v.shape) <= 1])
    if keras.config.dtype_policy().compute_dtype == "float16":
        made = kinds.LossScaleOptimizer(made)
    return made
