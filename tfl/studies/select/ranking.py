"""From the scores of candidates to an order, to who cannot be told from the best, and to a recommendation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfl.backbones.config import Config
from tfl.studies.paired import holm
from tfl.studies.select.frozen import Cost
from tfl.studies.select.resampled import resampled

Weighed = Literal["seconds", "parameters"]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What frozen features tell about the labels; of each the higher the better."""

    probe: tuple[float, ...]
    """Accuracy of the linear probe in each fold of each repeat."""
    nearest: tuple[float, ...]
    """Accuracy of the nearest neighbours in the same folds."""
    log_me: float
    h_score: float

    @property
    def accuracy(self) -> float:
        """Of the probe, over all folds."""
        return float(np.mean(self.probe))

    @property
    def neighbours(self) -> float:
        """Accuracy of the nearest neighbours, over all folds."""
        return float(np.mean(self.nearest))

    @property
    def order(self) -> tuple[float, float, float, float]:
        """By what candidates are ranked: the probe, and where that is the same, the others in turn."""
        return self.accuracy, self.neighbours, self.log_me, self.h_score


@dataclass(frozen=True, kw_only=True)
class Behind:
    """How far a candidate lies behind the best one, in accuracy of the probe."""

    value: float
    low: float
    high: float
    """The 95 % interval, corrected for the number of candidates."""
    p: float
    """Corrected likewise."""

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, kw_only=True)
class Depth:
    """A lower place to cut a backbone at, and what its features tell."""

    block: str
    """The last block below the cut."""
    above: str
    """The first block above it: what a phase would name to train from there on."""
    scores: Scores
    gain: Behind
    """What is gained over the features at the top, if anything is; corrected for the number of depths."""
    parameters: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A backbone that was scored."""

    label: str
    backbone: Config
    scores: Scores
    cost: Cost
    dimensions: int
    """Of its features."""
    seconds: float
    """That scoring it took, everything included."""
    stored: str
    """What the feature store did: rows computed and read, or why it was not used."""
    depths: tuple[Depth, ...] = ()


SAME: dict[Weighed, float] = {"seconds": 1.25, "parameters": 1.0}
"""Up to how many times the lowest cost is about the same: seconds of a busy machine differ for one and the same network."""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Candidates in order, and which of them to take."""

    candidates: tuple[Candidate, ...]
    """The best first."""
    behind: tuple[Behind, ...]
    """Of each, in the same order; the first lies 0 behind itself."""
    weighed: Weighed

    @property
    def best(self) -> Candidate:
        """The one with the highest score."""
        return self.candidates[0]

    @property
    def alike(self) -> tuple[Candidate, ...]:
        """Those that the data cannot tell from the best, itself included."""
        return tuple(one for one, its in zip(self.candidates, self.behind, strict=True) if not its.beyond_noise)

    @property
    def recommended(self) -> Candidate:
        """The cheapest of those that are alike; of those that cost about the same (`SAME`), the best."""
        costs = [getattr(one.cost, self.weighed) for one in self.alike]
        return next(one for one, cost in zip(self.alike, costs, strict=True) if cost <= SAME[self.weighed] * min(costs))

    def of(self, one: Candidate) -> Behind:
        """How far `one` lies behind."""
        return self.behind[self.candidates.index(one)]


def ranked(found: Sequence[Candidate], folds: int, examples: int, weighed: Weighed) -> Ranking:
    """`found` in order of their scores, each compared with the best of them; so many `folds` in a repeat, of `examples`."""
    ordered = tuple(sorted(found, key=lambda one: one.scores.order, reverse=True))
    own = Behind(value=0.0, low=0.0, high=0.0, p=1.0)
    others = [one.scores.probe for one in ordered[1:]]
    behind = compared([(ordered[0].scores.probe, other) for other in others], folds, examples)
    return Ranking(candidates=ordered, behind=(own, *behind), weighed=weighed)


def compared(pairs: Sequence[tuple[Sequence[float], Sequence[float]]], folds: int, examples: int) -> list[Behind]:
    """The difference of each of `pairs`, accuracies by fold, held to 95 % together (Holm)."""
    differences = [resampled(np.array(first), np.array(second), folds, examples) for first, second in pairs]
    adjusted, levels = holm([one.p for one in differences])
    found = []
    for one, p, level in zip(differences, adjusted, levels, strict=True):
        low, high = one.interval(level)
        found.append(Behind(value=one.value, low=max(-1.0, low), high=min(1.0, high), p=p))
    return found
