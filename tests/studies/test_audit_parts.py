"""The formulas of an audit against cases worked out by hand, or by another library."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn import model_selection
from threadpoolctl import threadpool_info, threadpool_limits

from tfl import evaluate, temperature
from tfl.config import UserError
from tfl.studies.audit import calibration, confidence, corruptions, cues, intervals, labels, places, slices, told
from tfl.studies.audit.audit import Audit
from tfl.studies.audit.finding import Finding, Section, graded

# --- calibration ------------------------------------------------------------------------------------------------------

PROBABILITIES = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.4, 0.6]])
LABELS = np.array([0, 1, 1, 1])


def test_bins_hold_what_they_say() -> None:
    bins = calibration.reliability(LABELS, PROBABILITIES)
    assert len(bins) == 15
    filled = {
        number: (row["examples"], row["confidence"], row["accuracy"]) for number, row in enumerate(bins) if row["examples"]
    }
    assert filled == {13: (2, 0.9, 0.5), 11: (1, 0.8, 1.0), 8: (1, 0.6, 1.0)}
    assert (bins[13]["low"], bins[13]["high"]) == (13 / 15, 14 / 15)
    by_hand = (2 * 0.4 + 0.2 + 0.4) / 4
    assert sum(row["examples"] / 4 * abs(row["accuracy"] - row["confidence"]) for row in filled_rows(bins)) == pytest.approx(
        by_hand
    )
    found = evaluate.evaluate("classification", LABELS, PROBABILITIES, ("a", "b"))
    assert found["expected_calibration_error"]["value"] == pytest.approx(by_hand)


def filled_rows(bins: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in bins if row["examples"]]


def test_brier_scores_by_hand() -> None:
    assert calibration.brier(LABELS, PROBABILITIES).tolist() == pytest.approx([0.02, 1.62, 0.08, 0.32])
    several = calibration.brier(np.array([[1, 0]]), np.array([[0.5, 0.2]]))
    assert several.tolist() == pytest.approx([(0.25 + 0.04) / 2])


def test_a_temperature_divides_logits() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [30.0, 0.0, -40.0]])

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)

    scaled = temperature.scaled(softmax(logits).astype(np.float32), 2.5)
    np.testing.assert_allclose(scaled, softmax(logits / 2.5), atol=1e-6)
    assert scaled.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()


def test_the_temperature_that_was_put_in_is_found() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (20_000, 4))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (true.cumsum(axis=1) > random.random((len(true), 1))).argmax(axis=1)
    assert temperature.fit(temperature.scaled(true, 1 / 3), drawn) == pytest.approx(3, rel=0.05)


def test_without_a_mistake_there_is_no_temperature() -> None:
    with pytest.raises(UserError, match="all 1 validation examples are predicted right"):
        temperature.fit(np.array([[0.9, 0.1]]), np.array([0]))


# --- intervals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("right", "count"), [(0, 7), (7, 7), (81, 263)])
def test_a_share_has_the_interval_of_wilson(right: int, count: int) -> None:
    found = intervals.mean(np.repeat([1, 0], [right, count - right]))
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_two_shares_differ_as_in_the_example_of_newcombe() -> None:
    """56 of 70 and 48 of 80, method 10 in table II of the paper: 0.0524 to 0.3339."""
    found = intervals.apart(np.repeat([1, 0], [56, 14]), np.repeat([1, 0], [48, 32]))
    assert [found[name] for name in ("value", "low", "high")] == pytest.approx([0.2, 0.0524, 0.3339], abs=5e-5)


def test_pairs_have_the_interval_of_agresti_and_min() -> None:
    """9 are better, 1 is worse, of 20: (9.5 - 1.5) / 22 and its standard error."""
    first, second = np.repeat([1, 0, 1], [9, 1, 10]), np.repeat([0, 1, 1], [9, 1, 10])
    found = intervals.paired(first, second)
    half = 1.96 * np.sqrt(11 - 64 / 22) / 22
    assert [found[name] for name in ("value", "low", "high")] == pytest.approx([0.4, 8 / 22 - half, 8 / 22 + half], abs=1e-4)


def test_numbers_have_the_intervals_of_student_and_welch() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(1, 2, 30), random.normal(0, 1, 20)
    low, high = stats.ttest_1samp(first, 0).confidence_interval()
    assert (intervals.mean(first)["low"], intervals.mean(first)["high"]) == pytest.approx((low, high))
    low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (intervals.apart(first, second)["low"], intervals.apart(first, second)["high"]) == pytest.approx((low, high))
    low, high = stats.ttest_rel(first[:20], second).confidence_interval()
    assert intervals.paired(first[:20], second)["low"] == pytest.approx(low)


# --- slices -----------------------------------------------------------------------------------------------------------


def test_a_gap_that_chance_gives_is_told_from_one_that_it_does_not() -> None:
    random = np.random.default_rng(1)
    names = np.repeat(["a", "b", "c", "d", "e", "f"], 30)
    even = slices.gap_of((random.random(180) < 0.7).astype(float), names, np.random.default_rng(0))
    worse = slices.gap_of(
        (random.random(180) < np.where(names == "c", 0.2, 0.8)).astype(float), names, np.random.default_rng(0)
    )
    assert even is not None
    assert worse is not None
    assert (worse["worst"], worse["p"] < 0.001, worse["low"] > 0.2) == ("c", True, True)
    assert even["p"] > 0.05
    assert even["value"] > 0.1, "the largest of many gaps is large by chance"


def test_slices_of_few_examples_make_no_gap() -> None:
    assert slices.gap_of(np.ones(12), np.repeat(["a", "b"], [9, 3]), np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    ("own", "scratch", "verdict"), [(0.3, 0.8, "larger"), (0.4, 0.4, "no difference"), (0.8, 0.2, "smaller")]
)
def test_a_gap_stands_beside_that_from_scratch(own: float, scratch: float, verdict: str) -> None:
    """The share of "b" that is right is given; of "a" it is 0.9 for both."""
    names = np.repeat(["a", "b"], 100)

    def scores(share: float) -> np.ndarray:
        ones = [np.repeat([1.0, 0.0], [round(100 * part), 100 - round(100 * part)]) for part in (0.9, share)]
        return np.concatenate(ones)

    found = slices.beside_scratch(scores(own), scores(scratch), names)
    assert found is not None
    assert found["verdict"] == verdict
    assert found["more"]["value"] == pytest.approx(scratch - own)
    assert found["scratch"]["value"] == pytest.approx(0.9 - scratch)


# --- confidence -------------------------------------------------------------------------------------------------------


def test_the_least_confident_are_refused_first() -> None:
    sure, right = np.array([0.5, 0.9, 0.6, 0.8]), np.array([0, 1, 1, 0])
    rows = {row["coverage"]: (row["examples"], row["value"], row["threshold"]) for row in confidence.coverage(sure, right)}
    assert rows[1.0] == (4, 0.5, 0.5)
    assert rows[0.5] == (2, 0.5, 0.8)
    assert rows[0.7] == (3, pytest.approx(2 / 3), 0.6)
    assert confidence.risk_area(sure, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 2 / 4) / 4)


def test_separation_is_the_share_of_pairs_in_order() -> None:
    found = confidence.separation(np.array([0.9, 0.5]), np.array([0.5, 0.4, 0.3]), seed=0)
    assert found["value"] == pytest.approx(5.5 / 6)


# --- labels -----------------------------------------------------------------------------------------------------------


def test_confident_learning_by_hand() -> None:
    """Thresholds are the means 0.6 of class 0 and 0.7 of class 1; the third reaches both, the fourth none, the last but one
    is labelled 1 and counts for 0.
    """
    given = np.array([0, 0, 0, 1, 1, 1])
    zero = np.array([0.9, 0.8, 0.1, 0.35, 0.45, 0.1])
    probabilities = np.stack([zero, 1 - zero], axis=1)
    assert [probabilities[:3, 0].mean(), probabilities[3:, 1].mean()] == pytest.approx([0.6, 0.7])
    counted = labels.confident(given, probabilities)
    assert counted.tolist() == [0, 0, 1, -1, -1, 1]
    shares = labels.joint(given, counted, 2)
    np.testing.assert_allclose(shares, np.array([[2, 1], [0, 3]]) / 6)


def test_swapped_labels_are_suspected() -> None:
    random = np.random.default_rng(0)
    true = np.repeat([0, 1, 2], 60)
    values = random.normal(0, 1, (180, 8)) + 6 * np.eye(8)[true]
    given, swapped = true.copy(), random.choice(180, 12, replace=False)
    given[swapped] = (given[swapped] + 1) % 3
    counted = labels.confident(given, labels.out_of_fold(values, given, seed=0))
    suspects = np.flatnonzero((counted >= 0) & (counted != given))
    assert len(set(swapped) & set(suspects)) >= 9
    assert len(set(suspects) - set(swapped)) <= 1
    assert 1 - np.trace(labels.joint(given, counted, 3)) == pytest.approx(12 / 180, abs=0.02)


def test_the_fits_on_folds_run_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of several cores that other work is on wait for each other; forty times as long was seen."""
    threads: list[int] = []

    def predict(model: Any, values: np.ndarray, given: np.ndarray, **fields: Any) -> np.ndarray:
        threads.extend(one["num_threads"] for one in threadpool_info())
        return np.full((len(given), 2), 0.5)

    monkeypatch.setattr(model_selection, "cross_val_predict", predict)
    with threadpool_limits(2):
        labels.out_of_fold(np.zeros((4, 2)), np.array([0, 0, 1, 1]), seed=0)
    assert set(threads) == {1}


# --- corruptions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(corruptions.IMAGE))
def test_a_stronger_corruption_changes_an_image_more(name: str) -> None:
    image = np.random.default_rng(0).integers(0, 200, (120, 112, 3)).astype(np.uint8)
    one = corruptions.IMAGE[name]
    found = [one.change(image, setting, np.random.default_rng(1)) for setting in one.settings]
    assert {(made.shape, made.dtype) for made in found} == {((120, 112, 3), np.dtype(np.uint8))}
    changes = [np.abs(made.astype(float) - image).mean() for made in found]
    assert 0 < changes[0] < changes[1] < changes[2]
    np.testing.assert_array_equal(found[1], one.change(image, one.settings[1], np.random.default_rng(1)))


def test_brightness_keeps_the_hue() -> None:
    bright = corruptions.brightness(
        np.array([[[100, 50, 0], [0, 0, 0], [250, 125, 0]]], np.uint8), 0.2, np.random.default_rng(0)
    )
    assert bright.tolist() == [[[151, 76, 0], [51, 51, 51], [255, 128, 0]]]


@pytest.mark.parametrize("name", sorted(corruptions.TEXT))
def test_a_stronger_corruption_changes_more_words(name: str) -> None:
    text = " ".join(["profits", "declined", "sharply", "we", "think"] * 40)
    one = corruptions.TEXT[name]
    changed = []
    for setting in one.settings:
        words = one.change(text, setting, np.random.default_rng(0)).split(" ")
        assert len(words) == 200
        changed.append(sum(new != old for new, old in zip(words, text.split(" "), strict=True)) / 200)
    assert 0 < changed[0] < changed[1] < changed[2]


# --- places and what is told ------------------------------------------------------------------------------------------


def test_the_grid_covers_an_image_once() -> None:
    seen = np.zeros((30, 21), int)
    for place in np.ndindex(cues.GRID, cues.GRID):
        seen[cues.bounds(place, (30, 21))] += 1
    assert (seen == 1).all()
    assert len(places.border(cues.GRID)) == 12
    assert [places.in_words(place, cues.GRID) for place in ((0, 0), (3, 1), (2, 3), (1, 2))] == [
        "top left corner",
        "bottom edge",
        "right edge",
        "middle",
    ]


def test_the_worst_is_told_first() -> None:
    def one(level: Any, size: float) -> Section:
        return Section(findings=(Finding(level=level, size=size, text=f"[{size}]"),))

    done = Audit(
        sections={"a": one("notable", 0.9), "b": one("serious", 0.1), "c": one("serious", 0.4), "d": Section()},
        skipped={},
        seconds={},
    )
    assert [name for name, _ in done.findings] == ["c", "b", "a"]
    assert told.headline(done) == "audit: 2 serious and 1 notable findings, the worst first"
    assert graded(0.05, "", notable=0.1, serious=0.2) == ()
    assert graded(0.2, "", notable=0.1, serious=0.2)[0].level == "serious"
