"""The optimizers of a phase: those of Keras, with its results."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tfl import models
from tfl.models import Group
from tfl.optimizers import Schedule, optimizer
from tfl.phases import Phase
from tfl.tasks.classification import Classification

STEPS = 30


def stepped(make: Any, strategy: Any = None) -> list[np.ndarray]:
    """A matrix and a bias after some steps on the same random gradients, of very different sizes."""
    strategy = strategy or tf.distribute.get_strategy()
    random = np.random.default_rng(0)
    with strategy.scope():
        variables = [keras.Variable(random.normal(size=shape).astype(np.float32)) for shape in ((17, 5), (5,))]
        own = make(variables)
        own.build(variables)
        own._all_reduce_sum_gradients = list  # as the step has it, which has summed them
    step = tf.function(lambda parts: strategy.run(lambda parts: own.apply(parts, variables), args=(parts,)))
    for number in range(STEPS):
        gradients = [random.normal(size=variable.shape) * 10.0 ** (number % 7 - 5) for variable in variables]
        step([tf.constant(gradient, tf.float32) for gradient in gradients])
    return [variable.numpy() for variable in variables]


def of_tfl(name: Any) -> Any:
    """What makes the optimizer of a phase for some variables."""
    phase = Phase(optimizer=name, learning_rate=0.01, weight_decay=0.1)
    return lambda variables: optimizer(phase, Group("all", variables, 1.0), STEPS)


def of_keras(name: str) -> Any:
    """What makes Keras's own optimizer with the same settings."""
    rate = Schedule(0.01, STEPS, warmup=Phase().warmup, shape=Phase().schedule)
    if name == "adam":
        return lambda variables: keras.optimizers.Adam(rate)

    def made(variables: Any) -> Any:
        own = keras.optimizers.AdamW(rate, weight_decay=0.1)
        own.exclude_from_weight_decay(var_list=variables[1:])
        return own

    return made


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_in_one_pass_gives_the_values_of_keras(name: str) -> None:
    for value, expected in zip(stepped(of_tfl(name)), stepped(of_keras(name)), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_weight_decay_spares_biases_and_norms() -> None:
    keras.utils.set_random_seed(0)
    backbone = tiny.backbone()
    model = models.build(backbone, {"label": Classification(class_names=("dark", "bright"), dropout=0.0)})
    models.set_trainable(model, backbone, "all", batch_norm="train")
    phase = Phase(weight_decay=0.1)
    (group,) = models.groups(model, backbone, phase)
    own = optimizer(phase, group, 10)
    own.build(group.variables)
    before = [v.numpy() for v in group.variables]
    own.apply([tf.zeros(v.shape) for v in group.variables], group.variables)
    moved = {v.path for v, old in zip(group.variables, before, strict=True) if not np.array_equal(v.numpy(), old)}
    assert moved == {"head/kernel", *(f"block{n}_conv/kernel" for n in (1, 2, 3))}
