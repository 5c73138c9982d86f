"""One training step: an objective's gradients, summed over the replicas, clipped together and applied group by group."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tfl.cut import Cut
from tfl.lazy import keras, tf
from tfl.models import Group
from tfl.optimizers import optimizer
from tfl.phases import Phase

NO_LIMIT = 1e30
"""A norm that no gradient reaches."""
SHORT, EVERY = 16, 8
"""In a call of so many steps or more, one of so many is timed: looking at the clock takes a good part of such a step."""


class Objective(Protocol):
    """What a training step minimises. May own variables of its own, beside the model's."""

    metrics: Sequence[Any]
    """Keras metrics that a call updates; the loop resets them every epoch and reports them."""

    def __call__(self, model: Cut, batches: Mapping[str, Mapping[str, Any]], step: Any) -> Any:
        """This replica's part of the loss: a scalar whose sum over the replicas is the loss of the global batch.

        `batches` has one batch of each stream, a dict of tensors; `step` is the number of steps done, int64.
        """


def _now(wanted: Any) -> Any:
    """Seconds, float64, when this runs in a graph, or 0 where `wanted` is false.

    TensorFlow's own operation is forbidden in deterministic runs.
    """
    return tf.cond(
        wanted,
        lambda: tf.ensure_shape(tf.numpy_function(time.perf_counter, [], tf.float64), []),
        lambda: tf.constant(0.0, tf.float64),
    )


class Stepper:
    """The training steps of a phase, traced for the variables that are trainable when it is made.

    Several steps run in one call, batches are fetched within it: a step on a small head takes less time than a call.
    """

    def __init__(
        self, model: Cut, objective: Objective, groups: Sequence[Group], phase: Phase, steps: int, strategy: Any
    ) -> None:
        self.model, self.objective, self.strategy = model, objective, strategy
        self.groups = [group for group in groups if group.variables]
        self.variables = [variable for group in self.groups for variable in group.variables]
        self.clip_norm, self.decay = phase.clip_norm, phase.ema
        self.optimizers = [optimizer(phase, group, steps * phase.epochs) for group in self.groups]
        for group, own in zip(self.groups, self.optimizers, strict=True):
            own.build(group.variables)
            # The step sums all gradients over the replicas at once; Keras would do so again, group by group.
            getattr(own, "inner_optimizer", own)._all_reduce_sum_gradients = list
        # Every replica assigns the same value to the variables below, so that of any one of them will do.
        self.step = tf.Variable(
            0, dtype=tf.int64, trainable=False, name="step", aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA
        )
        self.shadows = [
            tf.Variable(v.value, trainable=False, aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA)
            for v in self.variables
            if phase.ema
        ]
        self._function = tf.function(self._steps, reduce_retracing=True, autograph=False)

    def __call__(self, iterators: Mapping[str, Any], count: int = 1) -> dict[str, np.ndarray]:
        """Trains on `count` global batches of `iterators`, one of each stream a step.

        For each step, `[count]`: its loss, how many examples (and tokens) it had, and the seconds that it waited for its
        batches: 0 for rows in memory; of a long call, a sample of the steps stands for all. Which steps share a call changes
        nothing else.
        """
        return {name: values.numpy() for name, values in self._function(iterators, tf.constant(count)).items()}

    def _steps(self, iterators: Mapping[str, Any], count: Any) -> dict[str, Any]:
        names = ("loss", "examples", "waiting", *(["tokens"] if self._counts_tokens(iterators) else []))
        found = {name: tf.TensorArray(tf.float32, count) for name in names}
        every = tf.where(count < SHORT, 1, EVERY)

        def step(number: Any, found: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            batches, waiting = self._fetched(iterators, number, every)
            parts = self.strategy.run(self._replica, args=(batches,))
            sums = {name: self.strategy.reduce("SUM", part, axis=None) for name, part in parts.items()}
            values = {**sums, "waiting": waiting}
            return number + 1, {name: array.write(number, values[name]) for name, array in found.items()}

        _, found = tf.while_loop(lambda number, _: number < count, step, (0, found), parallel_iterations=1)
        return {name: array.stack() for name, array in found.items()}

    def _fetched(self, iterators: Mapping[str, Any], number: Any, every: Any) -> tuple[dict[str, Any], Any]:
        """The batches of step `number` of a call, and the seconds of waiting that it stands for, as one of `every`."""
        if self.model.in_memory:
            return {name: next(iterator) for name, iterator in iterators.items()}, tf.constant(0.0)
        timed = tf.equal(number % every, every - 1)
        start = _now(timed)
        with tf.control_dependencies([start]):
            batches = {name: next(iterator) for name, iterator in iterators.items()}
        with tf.control_dependencies(tf.nest.flatten(batches, expand_composites=True)):
            return batches, tf.cast(_now(timed) - start, tf.float32) * tf.cast(every, tf.float32)

    @staticmethod
    def _counts_tokens(iterators: Mapping[str, Any]) -> bool:
        return "padding_mask" in next(iter(iterators.values())).element_spec

    def _replica(self, batches: Mapping[str, Any]) -> dict[str, Any]:
        replicas = self.strategy.num_replicas_in_sync
        with tf.GradientTape() as tape:
            loss = self.objective(self.model, batches, self.step)
            penalties = self.model.model.losses
            total = loss + sum(penalties) / replicas if penalties else loss
            scaled = self.optimizers[0].scale_loss(total)
        gradients = tape.gradient(scaled, [variable.value for variable in self.variables])
        self._apply(gradients, replicas)
        first = next(iter(batches.values()))
        counts = {"examples": tf.cast(tf.size(first["index"]), tf.float32)}
        if "padding_mask" in first:
            counts["tokens"] = tf.reduce_sum(tf.cast(first["padding_mask"], tf.float32))
        return {"loss": loss, **counts}

    def _apply(self, gradients: list[Any], replicas: int) -> None:
        """Sums the gradients over the replicas, clips them together by their norm, and applies each group's own."""
        reached = [place for place, gradient in enumerate(gradients) if gradient is not None]
        sums = [tf.convert_to_tensor(gradients[place]) for place in reached]  # those of an embedding are IndexedSlices
        if replicas > 1 and sums:
            sums = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, sums)
        if self.clip_norm is not None or keras.config.dtype_policy().compute_dtype == "float16":
            # Where one gradient overflows, clipping makes all of them NaN: every group's loss scale sees the same.
            limit = self.optimizers[0].scale_loss(tf.constant(self.clip_norm or NO_LIMIT))
            sums, _ = tf.clip_by_global_norm(sums, limit)
        known = dict(zip(reached, sums, strict=True))
        place = 0
        for group, own in zip(self.groups, self.optimizers, strict=True):
            pairs = [(known[place + i], v) for i, v in enumerate(group.variables) if place + i in known]
            place += len(group.variables)
            if pairs:
                own.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])
        self.step.assign_add(1)
        if self.decay is not None:
            count = tf.cast(self.step, tf.float32)
            # As tf.train.ExponentialMovingAverage: early averages do not remember the start.
            decay = tf.minimum(self.decay, (1 + count) / (10 + count))
            for shadow, variable in zip(self.shadows, self.variables, strict=True):
                shadow.assign(shadow * tf.cast(decay, shadow.dtype) + tf.cast(1 - decay, shadow.dtype) * variable.value)

    def averaged(self) -> _Swapped:
        """Within this context the model has the averaged weights, where the phase averages them."""
        return _Swapped(self.variables, self.shadows)


class _Swapped:
    """Lends the values of `shadows` to `variables` for the time of a context."""

    def __init__(self, variables: Sequence[Any], shadows: Sequence[Any]) -> None:
        self.variables, self.shadows = variables, shadows

    def __enter__(self) -> None:
        self._own = [variable.numpy() for variable in self.variables] if self.shadows else []
        for variable, shadow in zip(self.variables, self.shadows, strict=False):
            variable.assign(shadow.numpy())

    def __exit__(self, *_: object) -> None:
        for variable, value in zip(self.variables, self._own, strict=False):
            variable.assign(value)
