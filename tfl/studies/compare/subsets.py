"""Nested subsets of the training examples: so many labels a class, the fewer among the more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfl.config import UserError
from tfl.data.batches import stream_seed

ALL = "all"
Labels = int | str
"""Labels a class, or "all" that there are."""


def subset(ids: np.ndarray, classes: np.ndarray, labels: Labels, seed: int) -> np.ndarray:
    """Positions, ascending, of `labels` examples of each class; with one `seed`, those of a smaller count are among them.

    `ids` [N] str and `classes` [N] int; the order in which the examples stand does not matter. A class has its own
    random numbers, so that another class's size does not either.
    """
    if labels == ALL:
        return np.arange(len(classes))
    by_id = np.argsort(np.asarray(ids, str), kind="stable")
    chosen = []
    for label in np.unique(classes):
        own = by_id[classes[by_id] == label]
        chosen.append(np.random.default_rng(stream_seed(seed, int(label))).permutation(own)[: int(labels)])
    return np.sort(np.concatenate(chosen))


def fitting(counts: Sequence[Labels], sizes: dict[str, int], chosen: bool) -> tuple[Labels, ...]:
    """Those of `counts` that every class can give, by its number of training examples in `sizes`.

    `chosen`: whether the user named them; then one that a class cannot give raises a `UserError`.
    """
    rarest = min(sizes, key=lambda name: sizes[name])
    too_many = [count for count in counts if count != ALL and int(count) > sizes[rarest]]
    if too_many and chosen:
        raise UserError(
            f"labels: {too_many[0]} a class are not there: class {rarest!r} has {sizes[rarest]} training examples; name at "
            f"most so many, or all"
        )
    return tuple(count for count in counts if count not in too_many)
