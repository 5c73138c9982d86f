"""How TensorFlow runs graphs, and what else of the process a run changes for its time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

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
