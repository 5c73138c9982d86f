"""From the trials of a comparison to differences with intervals, corrected for their number, and to label efficiency."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.reporting.transfer import MEASURES
from tfl.studies import paired
from tfl.studies.compare import curves
from tfl.studies.compare.curves import Shape
from tfl.studies.compare.plan import SCRATCH, Plan
from tfl.studies.compare.subsets import Labels
from tfl.studies.compare.trial import Trial
from tfl.studies.compare.verdict import Verdict, advice, verdict
from tfl.studies.paired import Paired

Key = tuple[str, Labels, int]
"""Method, labels, seed."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One method against scratch: the mean difference over seeds, and what it shows."""

    method: str
    labels: Labels
    measure: str
    """end | slope | start"""
    primary: bool
    transfer: float
    """Mean over seeds."""
    scratch: float
    value: float
    """`transfer` - `scratch`."""
    low: float
    """Of the 95 % interval of `value`, taken alone."""
    high: float
    p: float
    adjusted_p: float
    """For the number of comparisons; see `effects`."""
    decided: tuple[float, float]
    """The interval at the level that the correction leaves to it; the verdict is by this one."""
    verdict: Verdict
    advice: str


class Trials:
    """All trials of a finished comparison."""

    def __init__(self, plan: Plan, trials: Mapping[Key, Trial]) -> None:
        self.plan = plan
        self._trials = trials
        self.seeds = sorted({seed for _, _, seed in trials})

    def of(self, method: str, labels: Labels) -> list[Trial]:
        """The trials of `method` at so many `labels`, by seed."""
        return [self._trials[method, labels, seed] for seed in self.seeds]

    def shape(self, trial: Trial) -> Shape:
        """The learning curve of `trial` in a few numbers; over seconds where they are the budget, else over updates."""
        over = "updates" if self.plan.budget is None else "seconds"
        return curves.shape(trial.curve[over], trial.curve["accuracy"], self.plan.budget or trial.updates)

    def right(self, method: str, labels: Labels) -> np.ndarray:
        """[S, N]: whether each test example was predicted right with each seed."""
        return np.array([trial.right for trial in self.of(method, labels)], np.float64)

    def labels_a_class(self, labels: Labels) -> float:
        """The mean number of labels a class that `labels` stands for."""
        one = self.of(SCRATCH, labels)[0]
        return one.examples / one.classes


def effects(trials: Trials) -> list[Effect]:
    """Every method at every count of labels, by every measure; the primary comparisons first.

    The primary ones, one a method, are tested in the order in which the methods were named; all others together have Holm's
    correction.
    """
    plan = trials.plan
    keys = [(method, labels, measure) for labels in plan.labels[::-1] for method in plan.transfers for measure in MEASURES]
    main = [key for key in keys if key[1:] == (plan.endpoint_labels, plan.measure)]
    rest = [key for key in keys if key not in main]
    return [*_family(trials, main, primary=True), *_family(trials, rest, primary=False)]


def _family(trials: Trials, keys: Sequence[tuple[str, Labels, str]], primary: bool) -> list[Effect]:
    differences = [_difference(trials, *key) for key in keys]
    adjusted, levels = (paired.in_sequence if primary else paired.holm)([one.p for one, _, _ in differences])
    found = []
    for (method, labels, measure), (one, transfer, scratch), p, level in zip(keys, differences, adjusted, levels, strict=True):
        low, high = one.interval()
        decided = one.interval(level)
        shown = verdict(*decided)
        found.append(
            Effect(
                method=method,
                labels=labels,
                measure=measure,
                primary=primary,
                transfer=transfer,
                scratch=scratch,
                value=one.value,
                low=low,
                high=high,
                p=one.p,
                adjusted_p=p,
                decided=decided,
                verdict=shown,
                advice=advice(shown, *decided),
            )
        )
    return found


def _difference(trials: Trials, method: str, labels: Labels, measure: str) -> tuple[Paired, float, float]:
    """The difference of `method` to scratch, and the mean of each."""
    if measure == "end":
        first, second = trials.right(method, labels), trials.right(SCRATCH, labels)
        return paired.of_examples(first, second), float(first.mean()), float(second.mean())
    name = {"slope": "area", "start": "first"}[measure]
    values = [[getattr(trials.shape(one), name) for one in trials.of(way, labels)] for way in (method, SCRATCH)]
    examples = trials.of(SCRATCH, labels)[0].validation
    return paired.of_means(values[0], values[1], examples), float(np.mean(values[0])), float(np.mean(values[1]))


def accuracy(trials: Trials, method: str, labels: Labels) -> dict[str, float]:
    """The accuracy on the test split with its own 95 % interval over seeds and test examples."""
    right = trials.right(method, labels)
    low, high = paired.of_examples(right, np.full_like(right, 0.5)).interval()
    return {"value": float(right.mean()), "low": max(0.0, low + 0.5), "high": min(1.0, high + 0.5)}


def means(trials: Trials, method: str, labels: Labels) -> dict[str, Any]:
    """What `method` came to with so many `labels`, as means over seeds; of levels, the seeds that reached them."""
    own = trials.of(method, labels)
    shapes = [dataclasses.asdict(trials.shape(one)) for one in own]
    found: dict[str, Any] = {"method": method, "labels": labels, "end": accuracy(trials, method, labels)}
    found |= {name: float(np.mean([one[name] for one in shapes])) for name in ("before", "first", "area", "best", "last")}
    reached = {level: [one["reached"][level] for one in shapes] for level in shapes[0]["reached"]}
    found["reached"] = {level: _reached(values) for level, values in reached.items()}
    names = ("examples", "updates", "passed", "seconds", "trained_parameters", "computed")
    return found | {name: float(np.mean([getattr(one, name) for one in own])) for name in names}


def _reached(values: Sequence[float | None]) -> dict[str, Any]:
    there = [value for value in values if value is not None]
    return {"seeds": len(there), "mean": float(np.mean(there)) if there else None}


def efficiency(trials: Trials) -> list[dict[str, Any]]:
    """How many labels a class scratch needs for what each method has with k.

    `needs`: where scratch's mean accuracy over the counts of labels comes to the method's; None where all are not enough.
    `more_than`: the largest count with which scratch is shown to be worse than the method with k, by the 95 % interval of
    that pair alone; None where none is.
    """
    plan = trials.plan
    counts = [trials.labels_a_class(labels) for labels in plan.labels]
    scores = [float(trials.right(SCRATCH, labels).mean()) for labels in plan.labels]
    found = []
    for method in plan.transfers:
        for labels, count in zip(plan.labels, counts, strict=True):
            right = trials.right(method, labels)
            pairs = {other: paired.of_examples(right, trials.right(SCRATCH, other)) for other in plan.labels}
            worse = [more for more, one in zip(counts, pairs.values(), strict=True) if one.interval()[0] > 0]
            needs = curves.labels_needed(counts, scores, float(right.mean()))
            found.append({"method": method, "has": count, "needs": needs, "more_than": max(worse, default=None)})
    return found
