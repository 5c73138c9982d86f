"""Intervals of metrics: those of a plain bootstrap, by seed, and bearable where there is much."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.test_evaluate import data, names, values
from tfl import bootstrap
from tfl import evaluate as module
from tfl.evaluate import evaluate


def test_interval_is_that_of_a_plain_bootstrap() -> None:
    labels, probabilities = data(3, 200)
    result = evaluate("classification", labels, probabilities, names(3), resamples=2000)
    rng = np.random.default_rng(9)
    draws = rng.integers(0, 200, (2000, 200))
    accuracy = (probabilities.argmax(1) == labels)[draws].mean(1)
    f1 = [sk.f1_score(labels[d], probabilities[d].argmax(1), average="macro") for d in draws[:600]]
    assert [result["accuracy"][key] for key in ("low", "high")] == pytest.approx(
        np.percentile(accuracy, [2.5, 97.5]), abs=0.011
    )
    assert [result["macro_f1"][key] for key in ("low", "high")] == pytest.approx(np.percentile(f1, [2.5, 97.5]), abs=0.015)


@pytest.mark.parametrize(("right", "low", "high"), [(1, 0.2065, 1), (0, 0, 0.7935)])
def test_one_example_proves_nothing(right: int, low: float, high: float) -> None:
    """Wilson's interval of 1 of 1 is 1 / (1 + 1.96²) to 1."""
    accuracy = evaluate("classification", np.array([right]), np.array([[0.2, 0.8]]), names(2))["accuracy"]
    assert [accuracy["value"], accuracy["low"], accuracy["high"]] == pytest.approx([right, low, high], abs=1e-4)


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    truth = values(evaluate("classification", *data(3, 200_000, seed=99), names(3), resamples=1))
    inside = dict.fromkeys(("accuracy", "balanced_accuracy", "log_loss", "auroc"), 0)
    for seed in range(200):
        result = evaluate("classification", *data(3, 150, seed=seed), names(3), resamples=300)
        for name in inside:
            inside[name] += result[name]["low"] <= truth[name] <= result[name]["high"]
    assert all(178 <= count <= 199 for count in inside.values()), inside


def test_seed_decides_the_interval_and_not_the_value() -> None:
    labels, probabilities = data(3)
    one, two, other = (evaluate("classification", labels, probabilities, names(3), seed=seed) for seed in (1, 1, 2))
    assert one == two
    assert one["log_loss"] != other["log_loss"]
    assert values(one) == values(other)


def test_large_tables_take_auroc_to_first_order(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = data(4, 1500, ties=True)
    exact = evaluate("classification", labels, probabilities, names(4))["auroc"]
    monkeypatch.setattr(module, "WORK", 0)
    linear = evaluate("classification", labels, probabilities, names(4))["auroc"]
    assert linear["value"] == pytest.approx(exact["value"])
    assert [linear["low"], linear["high"]] == pytest.approx([exact["low"], exact["high"]], abs=0.002)


@pytest.mark.parametrize("classes", [2, 4])
def test_first_order_is_the_slope_of_the_exact_area(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    labels, probabilities = data(classes, 120, ties=True)
    one_hot = np.eye(classes, dtype=bool)[labels]
    exact, _ = module._auroc(one_hot, probabilities, binary=classes == 2)
    monkeypatch.setattr(module, "WORK", 0)
    linear, cost = module._auroc(one_hot, probabilities, binary=classes == 2)
    assert cost == 1
    step = 1e-5 * np.random.default_rng(0).normal(size=(120, 8))
    rises = [formula(1 + step)["auroc"] - formula(1 + 0 * step)["auroc"] for formula in (exact, linear)]
    np.testing.assert_allclose(rises[0], rises[1], atol=2e-9)
    assert np.abs(rises[0]).min() > 2e-8


def test_fewer_resamples_where_there_is_much(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    real = bootstrap._counts
    monkeypatch.setattr(bootstrap, "_counts", lambda rng, n, r: (drawn.append(r), real(rng, n, r))[1])
    monkeypatch.setattr(bootstrap, "WORK", 1000 * 250)
    evaluate("regression", np.arange(1000.0), np.arange(1000.0), ())
    assert sum(drawn) == 250
    drawn.clear()
    evaluate("regression", np.arange(2000.0), np.arange(2000.0), ())
    assert sum(drawn) == bootstrap.FEWEST


def test_ten_thousand_examples_are_quick() -> None:
    labels, probabilities = data(10, 10_000)
    start = time.process_time()
    evaluate("classification", labels, probabilities, names(10))
    assert time.process_time() - start < 5  # about half a second; the bound only catches another order of magnitude
