"""95 % intervals of mean scores and their differences; exact enough for few examples, also where all are right.

Scores are `[N]`, 1 for right and 0 for wrong, or any numbers (of a regression). The bootstrap of twelve right answers is the
interval from 1 to 1; those here are not. A single number says nothing of how far another would lie: it has no interval, so that
what is known least does not look the most certain.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Z = 1.959963984540054
"""The 97.5 percentile of the normal distribution."""


def is_share(*scores: np.ndarray) -> bool:
    """Whether all are 0 or 1."""
    return all(bool(np.isin(one, (0, 1)).all()) for one in scores)


def mean(scores: np.ndarray) -> dict[str, Any]:
    """The mean of `scores` [N] float.

    Of shares by Wilson (1927, Journal of the American Statistical Association 22:209), else by Student; there `low` and `high`
    are None with fewer than two scores.
    """
    scores = np.asarray(scores, np.float64)
    count = len(scores)
    if count == 0:
        return {"value": None, "low": None, "high": None, "examples": 0}
    value = float(scores.mean())
    low: float | None
    high: float | None
    if is_share(scores):
        middle = (value + Z * Z / (2 * count)) / (1 + Z * Z / count)
        half = Z / (1 + Z * Z / count) * math.sqrt(value * (1 - value) / count + Z * Z / (4 * count**2))
        low, high = max(0.0, middle - half), min(1.0, middle + half)
    else:
        low, high = _student(value, _variance(scores), count - 1)
    return {"value": value, "low": low, "high": high, "examples": count}


def apart(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Mean of `first` [N] - mean of `second` [M], float, of different examples.

    Of shares by Newcombe's hybrid score interval (1998, Statistics in Medicine 17:873, method 10), else by Welch; there `low`
    and `high` are None with fewer than two scores of either.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    one, two = mean(first), mean(second)
    if one["value"] is None or two["value"] is None:
        return {"value": None, "low": None, "high": None}
    value = one["value"] - two["value"]
    if is_share(first, second):
        low = value - math.hypot(one["value"] - one["low"], two["high"] - two["value"])
        high = value + math.hypot(one["high"] - one["value"], two["value"] - two["low"])
        return {"value": value, "low": low, "high": high}
    parts = [_variance(first), _variance(second)]
    total = sum(parts)
    freedom = sum(part**2 / max(len(scores) - 1, 1) for part, scores in zip(parts, (first, second), strict=True))
    low, high = _student(value, total, total**2 / freedom if freedom else 1)
    return {"value": value, "low": low, "high": high}


def paired(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """Mean of `first` - `second`, each [N] float, of the same examples.

    Of shares by Agresti and Min (2005, Statistics in Medicine 24:729): half an example more in each cell of the table of both,
    else by Student; there `low` and `high` are None with fewer than two.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    count = len(difference)
    if count == 0:
        return {"value": None, "low": None, "high": None}
    value = float(difference.mean())
    if is_share(np.asarray(first), np.asarray(second)):
        more, less, whole = float((difference > 0).sum()) + 0.5, float((difference < 0).sum()) + 0.5, count + 2
        middle = (more - less) / whole
        half = Z * math.sqrt(more + less - (more - less) ** 2 / whole) / whole
        return {"value": value, "low": max(-1.0, middle - half), "high": min(1.0, middle + half)}
    low, high = _student(value, _variance(difference), count - 1)
    return {"value": value, "low": low, "high": high}


def _variance(scores: np.ndarray) -> float:
    """Of the mean of `scores`; NaN of a single one."""
    return float(scores.var(ddof=1)) / len(scores) if len(scores) > 1 else math.nan


def _student(value: float, variance: float, freedom: float) -> tuple[float | None, float | None]:
    """(None, None) where the variance is not known."""
    from scipy import stats

    if math.isnan(variance):
        return None, None
    half = float(stats.t.ppf(0.975, max(freedom, 1))) * math.sqrt(variance)
    return value - half, value + half


def shown(one: dict[str, Any], digits: int = 3) -> str:
    """`0.874 (0.82 to 0.92)`, or `0.874 (no interval)`."""
    if one["value"] is None:
        return "not defined"
    told = "no interval" if one["low"] is None else f"{one['low']:.2f} to {one['high']:.2f}"
    return f"{one['value']:.{digits}f} ({told})"
