"""Which texts share a batch: those of like length, so that little of a batch is padding."""

from __future__ import annotations

import numpy as np

WINDOW = 32
"""Batches within which texts are sorted by length while training."""


def batches_by_length(
    lengths: np.ndarray,
    batch_size: int,
    *,
    max_tokens: int | None = None,
    seed: int | None = None,
    replicas: int = 1,
    drop_remainder: bool = False,
) -> list[np.ndarray]:
    """The positions of `lengths` ([N] int) in the batches of an epoch: in random order where there is a `seed`."""
    from tfl.data.pipeline import by_length

    order = by_length(lengths, batch_size, seed)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if batches and len(batches[-1]) < batch_size and (drop_remainder or (seed is not None and len(batches[-1]) < replicas)):
        batches.pop()
    elif batches and len(batches[-1]) < replicas:
        batches[-1] = np.resize(batches[-1], replicas)
    return batches
