"""Learning curves with a known start, slope and end are recovered."""

from __future__ import annotations

import numpy as np
import pytest

from tfl.studies.compare import curves, told


def test_a_line_that_levels_off() -> None:
    """From 0.2 to 0.8 over 100 updates, then level to 200: the area is (0.5 · 100 + 0.8 · 100) / 200."""
    x = [0.0, 10.0, 50.0, 100.0, 200.0]
    y = [0.2, 0.26, 0.5, 0.8, 0.8]
    found = curves.shape(x, y, until=200)
    assert (found.before, found.first, found.best, found.last) == (0.2, 0.26, 0.8, 0.8)
    assert found.area == pytest.approx(0.65)
    assert found.reached["0.5"] == pytest.approx(50)
    assert found.reached["0.7"] == pytest.approx(50 + 50 * 2 / 3)
    assert found.reached["0.8"] == pytest.approx(100)
    assert found.reached["0.9"] is None


def test_an_exponential_rise_is_recovered() -> None:
    """y = end - (end - start) · exp(-x / slope): its area and the way to a level are known in closed form."""
    start, end, slope, until = 0.3, 0.97, 40.0, 300.0
    x = np.linspace(0, until, 301)
    y = end - (end - start) * np.exp(-x / slope)
    found = curves.shape(x, y, until)
    assert found.area == pytest.approx(end - (end - start) * slope / until * (1 - np.exp(-until / slope)), abs=1e-4)
    assert found.before == pytest.approx(start)
    assert found.last == pytest.approx(end, abs=1e-3)
    for level in (0.5, 0.7, 0.9):
        assert found.reached[f"{level:g}"] == pytest.approx(slope * np.log((end - start) / (end - level)), abs=0.1)


def test_the_best_may_lie_before_the_last_and_the_start_is_not_the_best() -> None:
    found = curves.shape([0, 1, 2, 3], [0.9, 0.4, 0.7, 0.6], until=3)
    assert (found.best, found.last, found.reached["0.8"]) == (0.7, 0.6, 0.0)


def test_a_curve_that_ends_early_goes_on_and_one_that_ends_late_is_cut() -> None:
    assert curves.area(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 2.0) == pytest.approx((0.5 + 1) / 2)
    assert curves.area(np.array([0.0, 4.0]), np.array([0.0, 1.0]), 2.0) == pytest.approx(0.25)


def test_labels_that_scratch_needs_lie_between_counts_by_their_logarithm() -> None:
    counts, scores = [5, 20, 80], [0.5, 0.7, 0.9]
    assert curves.labels_needed(counts, scores, 0.6) == pytest.approx(10)
    assert curves.labels_needed(counts, scores, 0.8) == pytest.approx(40)
    assert curves.labels_needed(counts, scores, 0.91) is None


def test_a_count_that_was_tried_is_needed_to_the_last_bit() -> None:
    """exp(log(5.0)) is a little less than 5, which then is not the least count that the sentence asks for."""
    counts, scores = [5.0, 20.0, 80.0], [0.5, 0.7, 0.9]
    assert [curves.labels_needed(counts, scores, target) for target in (0.4, 0.5, 0.7, 0.9)] == [5, 5, 20, 80]
    assert curves.labels_needed([5.0, 20.0], [0.7, 0.7], 0.7) == 5
    found = [{"method": "head", "has": 5, "needs": curves.labels_needed(counts, scores, 0.4), "more_than": None}]
    assert told.needed(found, counts) == ["for what head has with 5 labels a class, scratch needs 5 or fewer"]
