"""Metrics against scikit-learn and SciPy or by hand; intervals against a plain bootstrap and on synthetic data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from tfl import evaluate as module
from tfl.config import UserError
from tfl.evaluate import evaluate

PLAIN = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "auroc", "expected_calibration_error")


def data(classes: int, count: int = 300, seed: int = 0, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N] and probabilities [N, C] that are right more often than not, over- and underconfident."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) * 1.5
    logits[np.arange(count), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    if ties:
        probabilities = np.round(probabilities * 8) + 0.5
        probabilities /= probabilities.sum(1, keepdims=True)
    return labels, probabilities


def names(classes: int) -> list[str]:
    return [f"class {place}" for place in range(classes)]


def values(result: dict[str, Any]) -> dict[str, float]:
    return {name: one["value"] for name, one in result.items() if isinstance(one, dict)}


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """As Guo et al. write it, a bin at a time."""
    total = 0.0
    for m in range(15):
        inside = (confidence > m / 15) & (confidence <= (m + 1) / 15)
        if inside.any():
            total += inside.sum() / len(confidence) * abs(right[inside].mean() - confidence[inside].mean())
    return total


# --- classification ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 5])
def test_classification_is_what_scikit_learn_says(classes: int, ties: bool) -> None:
    labels, probabilities = data(classes, ties=ties)
    result = evaluate("classification", labels, probabilities, names(classes))
    chosen = probabilities.argmax(1)
    auroc = (
        sk.roc_auc_score(labels, probabilities[:, 1])
        if classes == 2
        else sk.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    )
    expected = {
        "accuracy": sk.accuracy_score(labels, chosen),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, chosen),
        "macro_f1": sk.f1_score(labels, chosen, average="macro"),
        "log_loss": sk.log_loss(labels, probabilities),
        "auroc": auroc,
        "expected_calibration_error": calibration_error(probabilities.max(1), chosen == labels),
    }
    assert values(result) == pytest.approx(expected, abs=1e-9)
    assert tuple(expected) == PLAIN
    assert result["examples"] == 300
    np.testing.assert_array_equal(result["confusion_matrix"], sk.confusion_matrix(labels, chosen))
    table = sk.precision_recall_fscore_support(labels, chosen)
    for place, row in enumerate(result["per_class"]):
        assert row["class"] == f"class {place}"
        assert [row[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx([c[place] for c in table])
    json.dumps(result, allow_nan=False)


def test_a_small_case_by_hand() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    result = evaluate("classification", np.array([0, 0, 1, 1]), probabilities, ("no", "yes"))
    assert values(result) == pytest.approx(
        {
            "accuracy": 0.75,
            "balanced_accuracy": 0.75,
            "macro_f1": (0.8 + 2 / 3) / 2,
            "log_loss": -np.log(0.9 * 0.6 * 0.7 * 0.2) / 4,
            "auroc": 0.75,  # 0.7 beats 0.1 and 0.4; 0.2 beats 0.1 only
            "expected_calibration_error": (0.1 + 0.4 + 0.3 + 0.8) / 4,
        }
    )
    assert result["confusion_matrix"] == [[2, 0], [1, 1]]


def test_a_class_that_the_test_set_lacks() -> None:
    labels, probabilities = data(4)
    keep = labels != 2
    labels, probabilities = labels[keep], probabilities[keep]
    result = evaluate("classification", labels, probabilities, names(4))
    chosen = probabilities.argmax(1)
    recalls = [(chosen[labels == c] == c).mean() for c in (0, 1, 3)]
    areas = [sk.roc_auc_score(labels == c, probabilities[:, c]) for c in (0, 1, 3)]
    assert result["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    assert result["auroc"]["value"] == pytest.approx(np.mean(areas))
    assert result["macro_f1"]["value"] == pytest.approx(sk.f1_score(labels, chosen, average="macro"))
    absent = result["per_class"][2]
    assert (absent["support"], absent["recall"], absent["precision"], absent["f1"]) == (0, None, 0.0, 0.0)
    never = evaluate("classification", np.zeros(5, int), np.tile([0.8, 0.1, 0.1], (5, 1)), names(3))["per_class"][1]
    assert (never["precision"], never["recall"], never["f1"]) == (None, None, None)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_few_examples_do_not_crash(kind: Any, count: int) -> None:
    labels, probabilities = data(3, count)
    if kind == "multilabel":
        labels = np.eye(3)[labels]
    if kind == "regression":
        labels, probabilities = labels.astype(float), probabilities[:, 0]
    result = evaluate(kind, labels, probabilities, names(3) if kind != "regression" else ())
    json.dumps(result, allow_nan=False)
    if count == 1:
        undefined = result["auroc" if kind != "regression" else "r2"]
        assert undefined == {"value": None, "low": None, "high": None}


def test_no_examples_are_no_metrics() -> None:
    assert evaluate("classification", np.zeros(0, int), np.zeros((0, 3)), names(3)) == {"examples": 0}


def test_a_certain_mistake_does_not_make_the_loss_infinite() -> None:
    result = evaluate("classification", np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]), names(2))
    assert result["log_loss"]["value"] == pytest.approx(-np.log(np.finfo(np.float32).eps) / 2)


# --- multi-label and regression ---------------------------------------------------------------------------------------


def multilabel() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = (rng.random((200, 4)) < [0.1, 0.3, 0.5, 0.8]).astype(np.float32)
    return labels, np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0.001, 0.999)


def test_multilabel_is_what_scikit_learn_says() -> None:
    labels, probabilities = multilabel()
    result = evaluate("multilabel", labels, probabilities, names(4))
    decided = probabilities >= 0.5
    expected = {
        "accuracy": sk.accuracy_score(labels, decided),
        "label_accuracy": 1 - sk.hamming_loss(labels, decided),
        "balanced_accuracy": np.mean([sk.balanced_accuracy_score(labels[:, c], decided[:, c]) for c in range(4)]),
        "macro_f1": sk.f1_score(labels, decided, average="macro"),
        "log_loss": np.mean([sk.log_loss(labels[:, c], probabilities[:, c]) for c in range(4)]),
        "auroc": sk.roc_auc_score(labels, probabilities, average="macro"),
        "expected_calibration_error": calibration_error(probabilities.ravel(), labels.ravel().astype(float)),
    }
    assert values(result) == pytest.approx(expected, abs=1e-9)
    np.testing.assert_array_equal(result["confusion_matrix"], sk.multilabel_confusion_matrix(labels, decided))
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("ties", [False, True])
def test_regression_is_what_scikit_learn_says(ties: bool) -> None:
    rng = np.random.default_rng(2)
    labels = rng.normal(3, 1, 200)
    predictions = labels + rng.normal(0, 0.7, 200)
    if ties:
        labels, predictions = labels.round(), predictions.round()
    result = evaluate("regression", labels, predictions[:, None], ())
    expected = {
        "mae": sk.mean_absolute_error(labels, predictions),
        "rmse": sk.root_mean_squared_error(labels, predictions),
        "r2": sk.r2_score(labels, predictions),
        "spearman": stats.spearmanr(labels, predictions).statistic,
    }
    assert values(result) == pytest.approx(expected)
    assert set(result) == {"examples", *expected}


def test_constant_labels_have_no_r2() -> None:
    result = evaluate("regression", np.full(20, 0.1), np.arange(20.0), ())
    assert result["r2"]["value"] is None
    assert result["spearman"]["value"] is None
    assert result["mae"]["value"] is not None


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["two", "five", "multilabel", "regression"])
def test_weights_are_the_same_as_drawing_examples(kind: str) -> None:
    """A resample as weights gives the metrics of the resampled examples themselves."""
    if kind == "multilabel":
        labels, predictions, classes = *multilabel(), names(4)
    elif kind == "regression":
        labels, predictions, classes = np.arange(90.0) % 7, np.sin(np.arange(90.0)).round(1), []
    else:
        classes = names(2 if kind == "two" else 5)
        labels, predictions = data(len(classes), 90, ties=True)
    drawn = np.random.default_rng(3).integers(0, len(labels), len(labels))
    weights = np.bincount(drawn, minlength=len(labels)).astype(float)[:, None]
    if kind == "regression":
        found = module._regression(labels, predictions)(weights)
    else:
        sums = module._ClassSums(labels, predictions)
        auroc, _ = module._auroc(sums.one_hot, predictions, binary=kind == "two")
        found = sums.metrics(weights) | auroc(weights)
    name = kind if kind in ("multilabel", "regression") else "classification"
    expected = values(evaluate(name, labels[drawn], predictions[drawn], classes))  # type: ignore[arg-type]
    assert {key: value[0] for key, value in found.items()} == pytest.approx(expected)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        (np.zeros(3, int), np.zeros((3, 4)), "do not fit"),
        (np.zeros(3, int), np.zeros((2, 2)), "do not fit"),
        (np.array([0, 2]), np.full((2, 2), 0.5), "2 classes have 0 to 1"),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, np.nan]]), "1 of 2 examples are not finite"),
    ],
)
def test_what_does_not_fit_is_named(labels: np.ndarray, predictions: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        evaluate("classification", labels, predictions, names(2))
