"""Intervals of the difference of two ways of training, over few seeds and one test set, and Holm's correction.

The model is that of two crossed random effects. Of seed s and test example e, the difference of two paired scores is

    d[s, e] = mean + seed[s] + example[e] + rest[s, e].

The seeds are few, and share their test examples, so neither can stand for the other: more test examples say nothing about
another seed, and more seeds say nothing about other examples. The mean of d has the variance of its seeds, rest included,
and that of its examples; each is estimated by its mean squares (Cornfield and Tukey 1956, Annals of Mathematical Statistics
27:907), and the interval is

    mean ± sqrt(t(seeds - 1)² · V(seeds) + t(examples - 1)² · V(examples)),

which holds its level whatever the share of either (Banerjee 1960, Sankhyā 22:357). Adding up the variances first and
taking degrees of freedom by Satterthwaite's formula would be narrower, and too narrow where two seeds lie close by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A mean difference, and what it is uncertain by."""

    value: float
    centre: float
    """Of the interval: `value`, drawn a little to 0 where the examples are few."""
    over_seeds: float
    """Variance of the mean over seeds, at `seeds - 1` degrees of freedom."""
    over_examples: float
    """Variance of the mean over test examples, at `examples - 1` degrees of freedom."""
    seeds: int
    examples: int

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Low and high, at most 1 away from 0."""
        half = self._half(1 - level)
        return max(-1.0, self.centre - half), min(1.0, self.centre + half)

    @property
    def p(self) -> float:
        """Two-sided p-value of no difference: 1 - the level of the widest interval that does not hold 0."""
        from scipy import optimize

        low, high, size = 1e-12, 1 - 1e-12, abs(self.centre)
        if self._half(low) <= size:
            return 1.0 if size == 0 else low
        return 1.0 if self._half(high) >= size else float(optimize.brentq(lambda alpha: self._half(alpha) - size, low, high))

    def _half(self, alpha: float) -> float:
        """Half the width of the interval at level `1 - alpha`."""
        from scipy import stats

        seeds, examples = (float(stats.t.isf(alpha / 2, count - 1)) for count in (self.seeds, self.examples))
        return math.sqrt(seeds**2 * self.over_seeds + examples**2 * self.over_examples)


def of_examples(first: np.ndarray, second: np.ndarray) -> Paired:
    """`first` - `second`, each [S, N], S and N at least 2: whether test example n is right (1 or 0) with seed s.

    Two guards keep few or equal counts from looking certain: the mean square of seeds counts for no less than that of the
    rest, which it is expected to exceed, and the examples have the pseudo-observations of Agresti and Min (2005, Statistics
    in Medicine 24:729), one more pair that is for `first` by half and for `second` by half, and one that is for neither.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    seeds, examples = difference.shape
    mean = float(difference.mean())
    by_seed, by_example = difference.mean(axis=1), difference.mean(axis=0)
    rest = difference - by_seed[:, None] - by_example[None, :] + mean
    square_of_rest = float((rest**2).sum()) / ((seeds - 1) * (examples - 1))
    square_of_seeds = max(examples * float(by_seed.var(ddof=1)), square_of_rest)
    of_example = max(0.0, float(by_example.var(ddof=1)) - square_of_rest / seeds)
    return Paired(
        value=mean,
        centre=mean * examples / (examples + 2),
        over_seeds=square_of_seeds / (seeds * examples),
        over_examples=of_example / examples + 1 / (examples + 2) ** 2,
        seeds=seeds,
        examples=examples,
    )


def of_means(first: Sequence[float], second: Sequence[float], examples: int) -> Paired:
    """`first` - `second`, each [S], S at least 2: a mean over `examples` of scores from 0 to 1, one a seed.

    The scores of single examples are not known, so their part is the most that it can be where the two agree no worse than
    by chance: a score between 0 and 1 with mean p has a variance of p(1 - p) at most. p is drawn to 1/2 by a success and a
    failure of each (Agresti and Caffo 2000, The American Statistician 54:280).
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    drawn = [(float(np.mean(scores)) * examples + 1) / (examples + 2) for scores in (first, second)]
    return Paired(
        value=float(difference.mean()),
        centre=drawn[0] - drawn[1],
        over_seeds=float(difference.var(ddof=1)) / len(difference),
        over_examples=sum(p * (1 - p) for p in drawn) / (examples + 2),
        seeds=len(difference),
        examples=examples,
    )


def holm(values: Sequence[float], alpha: float = 1 - LEVEL) -> tuple[list[float], list[float]]:
    """Adjusted p-values of a family of comparisons, and the level of the interval that decides each of them.

    By Holm's step-down procedure (1979, Scandinavian Journal of Statistics 6:65): the smallest of m is held to alpha / m,
    the next to alpha / (m - 1), and so on up to the first that fails; that one's bound holds for the rest. An interval at
    the level returned leaves out 0 just where the adjusted p-value is below `alpha`.
    """
    order = np.argsort(values, kind="stable")
    adjusted, levels = np.empty(len(values)), np.empty(len(values))
    largest, failed = 0.0, 0
    for rank, place in enumerate(order):
        factor = len(values) - rank
        largest = max(largest, min(1.0, factor * values[place]))
        adjusted[place] = largest
        failed = failed or (factor if largest >= alpha else 0)
        levels[place] = 1 - alpha / (failed or factor)
    return adjusted.tolist(), levels.tolist()


def in_sequence(values: Sequence[float], alpha: float = 1 - LEVEL) -> tuple[list[float], list[float]]:
    """As `holm`, of comparisons whose order was declared: each is held to `alpha` as long as all before it have passed.

    So the first needs no correction, and one behind a failure counts for nothing (Maurer, Hothorn and Lehmacher 1995, in
    Vollmar, ed., Biometrie in der chemisch-pharmazeutischen Industrie 6, 3-18).
    """
    adjusted = np.maximum.accumulate(np.asarray(values, np.float64))
    levels = [1 - (alpha if largest < alpha else alpha * p / largest) for p, largest in zip(values, adjusted, strict=True)]
    return adjusted.tolist(), levels
