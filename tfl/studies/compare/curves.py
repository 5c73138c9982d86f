"""What a learning curve says: where it starts, how steep it is, where it ends. Pure functions of arrays.

A curve is two arrays, `x` (updates or seconds, ascending from 0) and `y` (a metric of which more is better, 0 to 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""Levels of the metric to which the way is measured."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A learning curve in a few numbers."""

    before: float
    """The metric before the first update."""
    first: float
    """The metric after the first epoch."""
    area: float
    """The mean height of the curve: its area over the budget, divided by the budget."""
    best: float
    last: float
    reached: dict[str, float | None]
    """`{level: updates (or seconds) until the curve reaches it}`; None where it never does."""


def shape(x: Sequence[float], y: Sequence[float], until: float) -> Shape:
    """The curve `x`, `y` ([P], P at least 2), whose budget ends at `until`, in a few numbers."""
    across, up = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return Shape(
        before=float(up[0]),
        first=float(up[1]),
        area=area(across, up, until),
        best=float(up[1:].max()),
        last=float(up[-1]),
        reached={f"{level:g}": reach(across, up, level) for level in LEVELS},
    )


def area(x: np.ndarray, y: np.ndarray, until: float) -> float:
    """The area under the curve from 0 to `until` by trapezia, divided by `until`: the metric's mean over the budget.

    A curve that ends before goes on at its last value; what lies behind `until` does not count.
    """
    inside = x < until
    across = np.append(x[inside], until)
    up = np.append(y[inside], np.interp(until, x, y))
    return float(np.trapezoid(up, across) / until)


def reach(x: np.ndarray, y: np.ndarray, level: float) -> float | None:
    """Where the curve, with straight lines between its points, first is at `level` or above; None where it never is."""
    above = np.flatnonzero(y >= level)
    if not len(above):
        return None
    place = int(above[0])
    if place == 0:
        return float(x[0])
    return float(np.interp(level, y[place - 1 : place + 1], x[place - 1 : place + 1]))


def labels_needed(labels: Sequence[float], scores: Sequence[float], target: float) -> float | None:
    """How many labels the curve of `scores` over ascending `labels` needs for `target`; None where all are not enough.

    Between two counts by the logarithm of the labels. Where the fewest are enough already, that count. A count that was tried
    comes back as it is, since who asks whether it is the least compares it.
    """
    counts, up = np.log(np.asarray(labels, np.float64)), np.asarray(scores, np.float64)
    found = reach(counts, up, target)
    if found is None:
        return None
    tried = np.flatnonzero(counts == found)
    return float(labels[tried[0]]) if len(tried) else float(np.exp(found))
