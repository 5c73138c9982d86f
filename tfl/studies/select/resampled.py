"""Differences of two candidates over the same folds of a repeated cross-validation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tfl.methods.folds import variance_of_mean


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """A mean difference over folds, and what it is uncertain by.

    With J folds in all and the corrected `variance_of_mean` over them: mean ± t(J - 1) · sqrt(variance).
    """

    value: float
    variance: float
    """Of the mean, corrected."""
    freedom: int

    def interval(self, level: float) -> tuple[float, float]:
        """Low and high."""
        from scipy import stats

        half = float(stats.t.isf((1 - level) / 2, self.freedom)) * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference."""
        from scipy import stats

        if self.value == 0:
            return 1.0
        return float(2 * stats.t.sf(abs(self.value) / math.sqrt(self.variance), self.freedom))


def resampled(first: np.ndarray, second: np.ndarray, folds: int, examples: int) -> Resampled:
    """`first` - `second`, each [J]: accuracies in the same J folds, so many `folds` in a repeat, of `examples` in all.

    What a pseudo-observation would add (Agresti and Min 2005, Statistics in Medicine 24:729) keeps equal counts in every
    fold from looking certain.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    count = len(difference)
    variance = variance_of_mean(difference, folds)
    return Resampled(value=float(difference.mean()), variance=variance + 1 / (examples + 2) ** 2, freedom=count - 1)
