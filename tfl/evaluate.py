"""Metrics of predictions, each with a 95 % interval by bootstrap over the examples.

Each metric is one formula over weighted examples (see `tfl.bootstrap`), checked in the tests against scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfl.bootstrap import FEWEST, WORK, Formula, Values, bounded, mean_of_defined, ratio, with_intervals
from tfl.config import UserError
from tfl.kinds import Kind

BINS = 15
"""Equal-width bins of the expected calibration error (Guo et al. 2017, arXiv:1706.04599)."""

SMALLEST = float(np.finfo(np.float32).eps)
"""Probabilities are taken as at least this in the log-loss, so that one certain mistake does not make it infinite."""

CALIBRATION = "expected_calibration_error"


def evaluate(
    kind: Kind,
    labels: np.ndarray,
    predictions: np.ndarray,
    class_names: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """What `predictions` are worth, as a plain dict that JSON can hold.

    Args:
        kind: "classification" (labels [N] int, the class's index; predictions [N, C] probabilities), "multilabel"
            (labels [N, C] 0 or 1; predictions [N, C], each from 0 to 1; a class is predicted from 0.5 on) or
            "regression" (labels and predictions [N]).
        class_names: the C names; () for regression.
        seed: of the resamples; equal seeds give equal intervals.
        resamples: of the bootstrap; where N or N × C is large, fewer are drawn (see `tfl.bootstrap`), at least 200.

    Each metric is `{"value", "low", "high"}`, the 2.5 and 97.5 percentiles of its bootstrap; all three are None where
    it is not defined (AUROC with one class only, R² of a constant). The interval of the calibration error, which
    resampling inflates, is shifted by the bootstrap's median bias, so that it holds the value; that of an accuracy of 0 or 1 is
    Wilson's. Balanced accuracy is the mean over the classes that labels have, macro F1 over those that labels or predictions
    have, and AUROC over those that some examples have and some have not (one against the rest; of two exclusive classes, the
    second). For "multilabel", accuracy means that all classes of an example are right, label_accuracy is the share of right
    decisions. Without any example there is nothing but `{"examples": 0}`.

    Raises `UserError` where shapes do not fit or a number is not finite.
    """
    labels, predictions = _arrays(kind, labels, predictions)
    if not len(labels):
        return {"examples": 0}
    _check(kind, labels, predictions, class_names)
    result: dict[str, Any] = {"examples": len(labels)}
    if kind == "regression":
        formulas = [(_regression(labels, predictions), 1)]
    else:
        sums = _ClassSums(labels, predictions)
        auroc = _auroc(sums.one_hot, predictions, binary=kind == "classification" and len(class_names) == 2)
        formulas = [(sums.metrics, 1), auroc]
    errors: list[np.ndarray] = []
    for formula, cost in formulas:
        result.update(with_intervals(_noting(errors, formula), len(labels), seed, resamples, cost))
    if CALIBRATION in result:
        result[CALIBRATION] = _centred(result[CALIBRATION], np.concatenate(errors[1:]))
    if kind != "regression":
        result["accuracy"] = bounded(result["accuracy"], len(labels))
        result["confusion_matrix"] = _confusion(kind, labels, predictions)
        result["per_class"] = sums.per_class(class_names)
    return result


def _arrays(kind: Kind, labels: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays; those of a regression as rows of float64."""
    labels, predictions = np.asarray(labels), np.asarray(predictions, np.float64)
    return (labels.reshape(-1).astype(np.float64), predictions.reshape(-1)) if kind == "regression" else (labels, predictions)


def _noting(errors: list[np.ndarray], formula: Formula) -> Formula:
    """`formula`, with each calibration error that it gives put into `errors`: of the whole first, then of resamples."""

    def noting(weights: np.ndarray) -> Values:
        values = formula(weights)
        if CALIBRATION in values:
            errors.append(values[CALIBRATION])
        return values

    return noting


def _centred(one: dict[str, Any], resampled: np.ndarray) -> dict[str, Any]:
    """The calibration error with its interval shifted by the bootstrap's median bias, within 0 to 1.

    It is a sum of absolute values, so that noise can only add to it, and a resample holds the noise twice: without the
    shift a well calibrated model's error lies below its own interval.
    """
    bias = float(np.median(resampled)) - one["value"]
    return {"value": one["value"], "low": max(0.0, one["low"] - bias), "high": min(1.0, one["high"] - bias)}


def _check(kind: Kind, labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]) -> None:
    count, classes = len(labels), len(class_names)
    shapes = {
        "classification": ((count,), (count, classes)),
        "multilabel": ((count, classes), (count, classes)),
        "regression": ((count,), (count,)),
    }
    if (labels.shape, predictions.shape) != shapes[kind]:
        raise UserError(
            f"labels {labels.shape} and predictions {predictions.shape} do not fit; {kind} of {count} examples and "
            f"{classes} classes has {shapes[kind][0]} and {shapes[kind][1]}"
        )
    if kind == "classification" and (labels.min() < 0 or labels.max() >= classes):
        raise UserError(f"labels from {labels.min()} to {labels.max()} do not fit; {classes} classes have 0 to {classes - 1}")
    for name, values in (("predictions", predictions), ("labels", labels)):
        broken = int((~np.isfinite(values)).reshape(count, -1).any(axis=1).sum())
        if broken:
            raise UserError(f"{name} of {broken} of {count} examples are not finite numbers; the model has diverged")


# --- classes ----------------------------------------------------------------------------------------------------------


class _ClassSums:
    """All metrics of classes but AUROC, as functions of a few sums over examples."""

    def __init__(self, labels: np.ndarray, probabilities: np.ndarray) -> None:
        from scipy import sparse

        count, self.classes = probabilities.shape
        rows = np.arange(count)
        self.exclusive = labels.ndim == 1
        if self.exclusive:
            chosen = probabilities.argmax(axis=1)
            self.one_hot = np.zeros_like(probabilities, bool)
            self.one_hot[rows, labels] = True
            decided = np.zeros_like(self.one_hot)
            decided[rows, chosen] = True
            loss = -np.log(np.maximum(probabilities[rows, labels], SMALLEST))
            confidence, right = probabilities[rows, chosen][:, None], (chosen == labels)[:, None]
        else:
            self.one_hot, decided = labels.astype(bool), probabilities >= 0.5
            likely = np.where(self.one_hot, probabilities, 1 - probabilities)
            loss = -np.log(np.maximum(likely, SMALLEST)).mean(axis=1)
            confidence, right = probabilities, self.one_hot
        agree = self.one_hot == decided
        gap = np.zeros((count, BINS))  # bin m holds confidences in (m / 15, (m + 1) / 15]
        bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        np.add.at(gap, (rows[:, None], bins), (right - confidence) / confidence.shape[1])
        parts = [self.one_hot, decided, self.one_hot & decided]
        parts += [agree.all(axis=1)[:, None], agree.mean(axis=1)[:, None], loss[:, None], gap]
        # Mostly zeros where there are many classes, and one product gives every sum of every resample.
        self.columns = sparse.hstack([sparse.csr_matrix(part, dtype=np.float64) for part in parts]).T.tocsr()

    def _sums(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """How often each class is the label, is predicted, and both, [C, R] each; and the rest, [3 + BINS, R]."""
        c = self.classes
        sums = self.columns @ weights
        return sums[:c], sums[c : 2 * c], sums[2 * c : 3 * c], sums[3 * c :]

    def metrics(self, weights: np.ndarray) -> Values:
        support, predicted, both, rest = self._sums(weights)
        total = weights.sum(axis=0)
        recall = ratio(both, support)
        if not self.exclusive:  # of each class, the mean of having and not having it
            without = total - support
            recall = (recall + ratio(without - predicted + both, without)) / 2
        values = {
            "accuracy": rest[0] / total,
            "label_accuracy": rest[1] / total,
            "balanced_accuracy": mean_of_defined(recall),
            "macro_f1": mean_of_defined(ratio(2 * both, support + predicted)),
            "log_loss": rest[2] / total,
            CALIBRATION: np.abs(rest[3:]).sum(axis=0) / total,
        }
        if self.exclusive:
            del values["label_accuracy"]
        return values

    def per_class(self, class_names: Sequence[str]) -> list[dict[str, Any]]:
        """Support, precision, recall and F1 of each class; None where the divisor is 0."""
        support, predicted, both, _ = (part[:, 0] for part in self._sums(np.ones((self.columns.shape[1], 1))))
        table = np.stack([ratio(both, predicted), ratio(both, support), ratio(2 * both, support + predicted)], axis=1)
        return [
            {
                "class": str(name),
                "support": int(support[place]),
                **{key: _plain(value) for key, value in zip(("precision", "recall", "f1"), table[place], strict=True)},
            }
            for place, name in enumerate(class_names)
        ]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _confusion(kind: Kind, labels: np.ndarray, probabilities: np.ndarray) -> list[Any]:
    """[C, C], rows the labels, columns the predictions; for "multilabel" [[no/no, no/yes], [yes/no, yes/yes]] each."""
    classes = probabilities.shape[1]
    if kind == "classification":
        cells = np.bincount(labels.astype(int) * classes + probabilities.argmax(axis=1), minlength=classes**2)
        return list(cells.reshape(classes, classes).tolist())
    cells = labels.astype(int) * 2 + (probabilities >= 0.5)
    return [np.bincount(column, minlength=4).reshape(2, 2).tolist() for column in cells.T]


def _auroc(one_hot: np.ndarray, probabilities: np.ndarray, binary: bool) -> tuple[Formula, int]:
    """Area under the ROC curve, the share of (positive, negative) pairs in the right order, ties counted half.

    Returned with its cost. Where even the fewest resamples are too much work, they are taken to first order in the
    weights, by the area's structural components (DeLong et al. 1988, Biometrics 44:837).
    """
    curves = []
    for place in [1] if binary else range(one_hot.shape[1]):
        score, positive = probabilities[:, place], one_hot[:, place]
        order = np.argsort(score, kind="stable")
        above, below = order[positive[order]], order[~positive[order]]
        if len(above) and len(below):
            less = np.searchsorted(score[below], score[above], "left")
            at_most = np.searchsorted(score[below], score[above], "right")
            curves.append((above, below, less, at_most))

    def areas(weights: np.ndarray) -> Values:
        found = np.full((max(1, len(curves)), weights.shape[1]), np.nan)
        for place, (above, below, less, at_most) in enumerate(curves):
            passed = np.zeros((len(below) + 1, weights.shape[1]))
            np.cumsum(weights[below], axis=0, out=passed[1:])
            own = weights[above]
            pairs = np.einsum("nr,nr->r", own, passed[less]) + np.einsum("nr,nr->r", own, passed[at_most])
            found[place] = ratio(pairs / 2, own.sum(axis=0) * passed[-1])
        return {"auroc": mean_of_defined(found)}

    if one_hot.size * FEWEST > 4 * WORK and curves:
        return _linear(areas(np.ones((len(one_hot), 1)))["auroc"], curves), 1
    return areas, len(curves) or 1


def _linear(area: np.ndarray, curves: Sequence[tuple[np.ndarray, ...]]) -> Formula:
    """The mean area under `curves`, linear in the weights about all ones."""
    slope = np.zeros(sum(map(len, curves[0][:2])))
    for above, below, less, at_most in curves:
        before = (less + at_most) / 2  # negatives below each positive; then, for each negative, the positives above it
        after = np.zeros(len(below) + 1)
        np.add.at(after, less, 0.5)
        np.add.at(after, at_most, 0.5)
        after = len(above) - np.cumsum(after)[:-1]
        for part, pairs, others in ((above, before, len(below)), (below, after, len(above))):
            slope[part] += (pairs - pairs.mean()) / (others * len(part) * len(curves))
    return lambda weights: {"auroc": np.clip(area + slope @ weights, 0.0, 1.0)}


# --- numbers ----------------------------------------------------------------------------------------------------------


def _regression(labels: np.ndarray, predictions: np.ndarray) -> Formula:
    """Mean absolute error, root mean squared error, R² and Spearman's rank correlation."""
    error, centred = predictions - labels, labels - labels.mean()
    columns = np.stack([np.abs(error), error**2, centred, centred**2])
    ranks = _ranker(labels), _ranker(predictions)

    def metrics(weights: np.ndarray) -> Values:
        total = weights.sum(axis=0)
        absolute, squared, mean, square = columns @ weights / total
        variance = np.maximum(square - mean**2, 0.0)
        variance[variance <= 1e-12 * square.max(initial=0.0)] = 0.0  # what rounding leaves of a constant
        one, other = (rank(weights) for rank in ranks)
        one, other = one - (one * weights).sum(axis=0) / total, other - (other * weights).sum(axis=0) / total
        spread = np.sqrt((weights * one**2).sum(axis=0) * (weights * other**2).sum(axis=0))
        return {
            "mae": absolute,
            "rmse": np.sqrt(squared),
            "r2": 1 - ratio(squared, variance),
            "spearman": ratio((weights * one * other).sum(axis=0), spread),
        }

    return metrics


def _ranker(values: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """From weights to the rank, [N, R], that each example has in each resample; ties share their mean rank."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(group.max() + 1))

    def ranks(weights: np.ndarray) -> np.ndarray:
        size = np.add.reduceat(weights[order], starts, axis=0)
        return (np.cumsum(size, axis=0) - (size - 1) / 2)[group]

    return ranks
