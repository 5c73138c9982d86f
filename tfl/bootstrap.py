"""Intervals of metrics by bootstrap over examples, a block of resamples at a time.

A metric is a formula over weighted examples. With all weights 1 it is the metric; with the counts of resamples drawn
with replacement as weights it is the bootstrap. So value and interval cannot differ in their definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Values = dict[str, np.ndarray]
Formula = Callable[[np.ndarray], Values]
"""From weights, [N, R] float64, to metrics by name, each [R] with NaN where it is not defined."""

WORK = 50_000_000
"""Resamples × examples (× the cost of a metric) above which fewer resamples are drawn, but at least `FEWEST`."""

FEWEST = 200
"""So few resamples still place the 2.5 and 97.5 percentiles."""


def with_intervals(formula: Formula, count: int, seed: int, resamples: int, cost: int) -> dict[str, dict[str, Any]]:
    """Each metric of `formula` as value, low and high."""
    values = formula(np.ones((count, 1)))
    drawn = min(resamples, max(FEWEST, WORK // (count * cost)))
    rng = np.random.default_rng(seed)
    block = max(1, min(drawn, 1_000_000 // count))  # a few megabytes at a time
    parts = [formula(_counts(rng, count, min(block, drawn - start))) for start in range(0, drawn, block)]
    result = {}
    for name, value in values.items():
        low, high = _percentiles(np.concatenate([part[name] for part in parts]))
        defined = bool(np.isfinite(value[0]))
        result[name] = {
            "value": float(value[0]) if defined else None,
            "low": low if defined else None,
            "high": high if defined else None,
        }
    return result


def _counts(rng: np.random.Generator, count: int, resamples: int) -> np.ndarray:
    """[count, resamples] float64: how often each example is in each resample of `count` draws with replacement."""
    drawn = rng.integers(0, count, (count, resamples)) * resamples + np.arange(resamples)
    return np.bincount(drawn.reshape(-1), minlength=count * resamples).reshape(count, resamples).astype(np.float64)


def _percentiles(values: np.ndarray) -> tuple[float | None, float | None]:
    values = values[np.isfinite(values)]  # a resample of one class only has no AUROC
    if not len(values):
        return None, None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def bounded(share: dict[str, Any], count: int) -> dict[str, Any]:
    """The interval of a share of `count` examples; of all or none of them, whose resamples are all alike, Wilson's (1927)."""
    if share["value"] not in (0, 1):
        return share
    from scipy.stats import binomtest

    low, high = binomtest(round(share["value"] * count), count).proportion_ci(method="wilson")
    return {**share, "low": float(low), "high": float(high)}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """`numerator / denominator`, NaN where the latter is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN; NaN where all is."""
    defined = np.isfinite(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0))
