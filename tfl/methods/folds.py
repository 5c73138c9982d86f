"""K-fold cross-validation: which examples are in each fold, and what the folds say together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tfl import data
from tfl.config import UserError
from tfl.data.examples import Examples
from tfl.data.partition import together
from tfl.data.splits import Splits


def known(labels: np.ndarray | None) -> np.ndarray:
    """`labels`, which examples to train on have."""
    assert labels is not None
    return labels


def folds_of(splits: Splits, folds: int, seed: int) -> list[tuple[Examples, Examples, Examples]]:
    """(train, validation, test) of each fold, stratified by class; the next fold validates each.

    A group is on one side, and so are copies of one example, where there are enough different ones. With two folds a quarter
    of the other one validates.
    """
    pool = data.concatenate(splits.train, splits.validation)
    groups = np.concatenate([splits.groups["train"], splits.groups["validation"]]) if splits.groups else None
    joined = together(pool.digests, groups)
    if groups is not None or (joined is not None and _enough(joined, known(pool.labels), folds, splits.kind)):
        groups = joined
    parts = _parts(known(pool.labels), groups, folds, seed, splits.kind == "classification")
    result = []
    for number, test in enumerate(parts):
        validation = parts[(number + 1) % folds]
        if folds == 2:
            own = None if groups is None else groups[validation]
            there = len(validation) if own is None else len(set(own))
            if there < 2:
                raise UserError("folds: 2 leaves nothing to train on beside what validates; set folds: 0, or add examples")
            validation = validation[_parts(known(pool.labels)[validation], own, min(4, there), seed, False)[0]]
        rest = np.setdiff1d(np.arange(len(pool)), np.concatenate([test, validation]))
        result.append((pool.take(rest), pool.take(np.sort(validation)), pool.take(np.sort(test))))
    return result


def _enough(contents: np.ndarray, labels: np.ndarray, folds: int, kind: str) -> bool:
    """Whether there are as many different examples as folds, of each class too."""
    classes = labels if kind == "classification" else np.zeros(len(labels), np.int64)
    return all(len(set(contents[classes == one])) >= folds for one in np.unique(classes))


def _parts(labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int, stratify: bool) -> list[np.ndarray]:
    """The positions of `labels` in `folds` parts. Raises `UserError` where there are too few groups or examples."""
    from sklearn import model_selection

    there = len(labels) if groups is None else len(set(groups))
    if there < folds:
        raise UserError(
            f"folds: {folds} is more than there are {'examples' if groups is None else 'groups'} ({there}); use fewer folds"
        )
    if stratify and (fewest := min(np.bincount(labels))) < folds:
        advice = "use fewer folds" if fewest > 1 else "add examples to it, or remove it"
        raise UserError(f"folds: {folds} is more than the smallest class has examples ({fewest}); {advice}")
    if groups is not None:
        kind = model_selection.StratifiedGroupKFold if stratify else model_selection.GroupKFold
    else:
        kind = model_selection.StratifiedKFold if stratify else model_selection.KFold
    splitter = kind(folds, shuffle=True, random_state=seed)
    return [part for _, part in splitter.split(labels, labels if stratify else None, groups)]


FROM_ZERO_TO_ONE = (
    "accuracy",
    "label_accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "expected_calibration_error",
)
"""Metrics whose intervals end where the metric does."""


def variance_of_mean(values: np.ndarray, folds: int) -> float:
    """Of the mean of `values` [J], results of the J folds of cross-validations of so many `folds` each.

    The training parts of folds overlap, so that the variance over folds says too little. Nadeau and Bengio (2003, Machine
    Learning 52:239) add the size of a test part to that of the rest, and Bouckaert and Frank (2004, PAKDD) take the same for
    repeats: (1/J + 1/(K - 1)) · S², with K folds and the variance S² of the values.
    """
    return (1 / len(values) + 1 / (folds - 1)) * float(np.var(values, ddof=1))


def summarise(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and 95 % t-interval (by `variance_of_mean`) over the folds of each metric that has an interval of its own.

    A metric is there where any fold defines it, and `values` are those of the folds that do: AUROC is not defined where a
    fold tests one class alone. A single value says nothing of how far another would lie, so that it has no interval.
    """
    from scipy import stats

    metrics = {}
    for name in dict.fromkeys(name for result in results for name in result):
        found = [result[name].get("value") for result in results if isinstance(result.get(name), dict)]
        values = [value for value in found if value is not None]
        if not values:
            continue
        mean = float(np.mean(values))
        low, high = None, None
        if len(values) > 1:
            half = float(stats.t.ppf(0.975, len(values) - 1)) * math.sqrt(variance_of_mean(np.asarray(values), len(results)))
            low, high = mean - half, mean + half
            if name in FROM_ZERO_TO_ONE:
                low, high = max(low, 0.0), min(high, 1.0)
        metrics[name] = {"mean": mean, "low": low, "high": high, "values": values}
    return {"metrics": metrics}
