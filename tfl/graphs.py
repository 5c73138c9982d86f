"""How TensorFlow rewrites the graphs that it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tfl.lazy import tf


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
