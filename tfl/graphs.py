"""How TensorFlow runs graphs, and what else of the process a run changes for its time."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfl.lazy import keras, tf


@contextlib.contextmanager
def given_back() -> Iterator[None]:
    """After this context are as before: the random numbers of Python and NumPy, Keras's dtype policy, and whether TensorFlow
    is deterministic and reorders sums. TensorFlow's own random numbers cannot be.
    """
    from tensorflow.python.framework import config  # TensorFlow has no public way to end determinism

    drawn, policy = (random.getstate(), np.random.get_state()), keras.config.dtype_policy()
    deterministic = config.is_op_determinism_enabled()
    with reordering(True):
        try:
            yield
        finally:
            (config.enable_op_determinism if deterministic else config.disable_op_determinism)()
            keras.config.set_dtype_policy(policy)
            random.setstate(drawn[0])
            np.random.set_state(drawn[1])


@contextlib.contextmanager
def reordering(allowed: bool) -> Iterator[None]:
    """Within this context TensorFlow may put sums and products into another order, or may not.

    The order goes through hash tables, which differ between processes: without it two runs have the same bits. With it, as
    TensorFlow does by itself, the last bit of a sum may be another one, and a deep network can make 1e-4 of that.
    """
    options = tf.config.optimizer
    before = options.get_experimental_options().get("arithmetic_optimization", True)
    options.set_experimental_options({"arithmetic_optimization": allowed})
    try:
        yield
    finally:
        options.set_experimental_options({"arithmetic_optimization": before})


def better_constant(weights: Sequence[Any]) -> list[Any]:
    """Those of the Keras variables `weights` that are better constants: the kernels of convolutions, and vectors.

    TensorFlow's kernels on a CPU order the weights of a convolution for themselves in every call, but a constant once, and a
    BatchNorm of constants becomes part of one. Matrices are not slower as variables.
    """
    return [one for one in weights if len(one.shape) in (0, 1, 4)]


def with_constants(function: Callable[[list[Any]], Any], weights: Sequence[Any]) -> Callable[[list[Any]], Any]:
    """`function`, of tensors, with the values that the Keras variables `weights` have now as constants of its graph."""
    values = [one.numpy() for one in weights]

    def constant(tensors: list[Any]) -> Any:
        mapping = [(one, tf.constant(value)) for one, value in zip(weights, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping):
            return function(tensors)

    return constant


def in_bytes(weight: Any) -> int:
    """What a Keras variable takes in memory."""
    return math.prod(weight.shape) * int(tf.as_dtype(weight.dtype).size)
