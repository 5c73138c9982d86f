"""A learning-rate range test before it runs, and what its losses say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfl.config import UserError

MEMORY = 0.9
"""Of the running mean by which divergence is seen while the test runs."""
TIMES, OVER, FIRST = 4.0, 1.5, 10
"""A running mean `TIMES` its lowest value, and `OVER` times the mean of the `FIRST` losses, has diverged."""
WIDTH = 1 / 30
"""Standard deviation of the Gaussian that smooths the losses afterwards, as a part of the steps."""
EDGE = 3
"""Standard deviations of that Gaussian which the first loss, repeated, reaches into the curve."""
BEYOND = 7.0
"""Standard errors of the smoothed loss by which it has to fall for a suggestion. The lowest of many lies low by chance
alone: of 300 simulated tests of nothing but noise, 4 % fell by so much."""


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What is tried."""

    phase: int = 1
    """Which one, from 1 on."""
    steps: int = 100
    """Updates, if nothing diverges; each at a rate that is higher than the last by the same factor."""
    lowest: float = 1e-6
    """The first rate."""
    highest: float = 1.0
    """The last rate."""

    def __post_init__(self) -> None:
        if self.steps < 20:
            raise UserError(f"steps: {self.steps} is not valid; at least 20, or nothing can be smoothed")
        if not 0 < self.lowest < self.highest:
            raise UserError(f"lowest, highest: {self.lowest:g} to {self.highest:g} is no range; above 0, the lower one first")

    @property
    def rates(self) -> np.ndarray:
        """[steps]: those that are tried, in order."""
        return np.geomspace(self.lowest, self.highest, self.steps)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Losses over learning rates, and what they suggest (Smith 2017, "Cyclical Learning Rates", arXiv:1506.01186).

    Two rules are in use: the rate at which the loss falls most steeply, and a tenth of that at which it is lowest. The lower
    of the two is suggested: a rate that is too low costs time, one that is too high the pre-trained weights.
    """

    rates: tuple[float, ...]
    """Ascending."""
    losses: tuple[float, ...]
    """Of the batch after the update at each rate."""
    diverged: bool
    """Whether the test ended because the loss rose."""

    @cached_property
    def smoothed(self) -> np.ndarray:
        """The losses, smoothed from both sides so that they do not lag; a loss that has exploded counts for no more than is
        needed to see that it has.
        """
        from scipy import ndimage

        losses = np.array(self.losses)
        limit = 2 * float(np.mean(losses[:FIRST]))
        return np.asarray(ndimage.gaussian_filter1d(np.minimum(losses, limit), self._width, mode="nearest"))

    @property
    def _width(self) -> float:
        return max(1.0, WIDTH * len(self.losses))

    @property
    def lowest(self) -> float:
        """The rate with the lowest loss."""
        return self.rates[int(np.argmin(self.smoothed))]

    @property
    def steepest(self) -> float:
        """The rate below that one at which the loss falls most, over the logarithm of the rate.

        The first few are left out: the smoothing repeats the first loss before the start, so that one batch that is hard
        there looks like a fall from the first rate on.
        """
        falls, lowest = np.gradient(self.smoothed, np.log(self.rates)), int(np.argmin(self.smoothed))
        start = min(math.ceil(EDGE * self._width), lowest)
        return self.rates[start + int(np.argmin(falls[start : lowest + 1]))]

    @property
    def suggested(self) -> float | None:
        """The lower of `steepest` and a tenth of `lowest`; None where the loss has not fallen by more than its noise."""
        lowest = int(np.argmin(self.smoothed))
        rest = (np.array(self.losses) - self.smoothed)[: lowest + 1]
        noise = float(np.std(rest)) / np.sqrt(2 * np.sqrt(np.pi) * self._width)
        if lowest == 0 or self.smoothed[0] - self.smoothed[lowest] <= BEYOND * noise:
            return None
        return min(self.steepest, self.lowest / 10)


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the last of `losses` says that it makes no sense to go on."""
    if not losses or not np.isfinite(losses).all():
        return bool(losses)
    mean, means = 0.0, []
    for count, loss in enumerate(losses, start=1):
        mean = MEMORY * mean + (1 - MEMORY) * loss
        means.append(mean / (1 - MEMORY**count))
    return means[-1] > max(TIMES * min(means), OVER * float(np.mean(losses[:FIRST])))
