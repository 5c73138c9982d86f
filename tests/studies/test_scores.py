"""The scores of a selection against their papers' formulas, computed in NumPy as they stand there."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from tfl.studies.select import scores
from tfl.studies.select.resampled import resampled


def data(count: int, width: int, classes: int, apart: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return random.normal(size=(count, width)) + apart * random.normal(size=(classes, width))[labels], labels


# --- LogME ------------------------------------------------------------------------------------------------------------


def evidence(f: np.ndarray, y: np.ndarray, alpha: float, beta: float) -> float:
    """Equation 2 of You et al. 2021, letter by letter."""
    count, width = f.shape
    alpha, beta = np.clip([alpha, beta], 1e-12, 1e12)
    a = alpha * np.eye(width) + beta * f.T @ f
    m = beta * np.linalg.solve(a, f.T @ y)
    return float(
        count / 2 * np.log(beta)
        + width / 2 * np.log(alpha)
        - count / 2 * np.log(2 * np.pi)
        - beta / 2 * np.sum((f @ m - y) ** 2)
        - alpha / 2 * m @ m
        - np.linalg.slogdet(a)[1] / 2
    )


@pytest.mark.parametrize(("count", "width"), [(30, 4), (12, 20), (10, 10)])
def test_log_me_is_the_largest_evidence(count: int, width: int) -> None:
    f, labels = data(count, width, 3)
    best = []
    for label in range(3):
        y = (labels == label).astype(float)
        found = [
            -optimize.minimize(
                lambda x, y=y: -evidence(f, y, *np.exp(x)),
                start,
                method="Nelder-Mead",
                options={"fatol": 1e-10, "maxiter": 4000},
            ).fun
            for start in ((0, 0), (-4, 4), (4, 0))
        ]
        best.append(max(found) / count)
    assert scores.log_me(f, labels) == pytest.approx(np.mean(best), abs=1e-5)


def test_log_me_is_a_fixed_point_of_the_papers_iteration() -> None:
    """alpha <- gamma / m'm, beta <- (n - gamma) / |Fm - y|², with gamma the sum of beta s / (alpha + beta s)."""
    f, labels = data(40, 6, 2, apart=0.7)
    y, alpha, beta = (labels == 1).astype(float), 1.0, 1.0
    squares = np.linalg.eigvalsh(f.T @ f)
    for _ in range(200):
        m = beta * np.linalg.solve(alpha * np.eye(6) + beta * f.T @ f, f.T @ y)
        gamma = np.sum(beta * squares / (alpha + beta * squares))
        alpha, beta = gamma / (m @ m), (40 - gamma) / np.sum((f @ m - y) ** 2)
    ours = scores.log_me(f, labels)
    other = (labels == 0).astype(float)
    assert ours == pytest.approx((evidence(f, y, alpha, beta) / 40 + scores_of(f, other)) / 2, abs=1e-6)


def scores_of(f: np.ndarray, y: np.ndarray) -> float:
    found = optimize.minimize(lambda x: -evidence(f, y, *np.exp(x)), (0, 0), method="Nelder-Mead", options={"fatol": 1e-10})
    return float(-found.fun) / len(f)


def test_log_me_of_one_feature_by_hand() -> None:
    """F = y = (1, 1, 0, 0) of one class: the evidence grows without bound as the noise goes to 0, and stays finite here; a
    feature that says nothing has the evidence of y alone.
    """
    labels = np.array([0, 0, 1, 1])
    assert scores.log_me(np.zeros((4, 1)), labels) == pytest.approx(-(np.log(2 * np.pi / 2) + 1) / 2)
    assert scores.log_me(np.eye(2)[labels] + 1e-3 * data(4, 2, 2)[0], labels) > scores.log_me(np.ones((4, 1)), labels) + 1


# --- H-score ----------------------------------------------------------------------------------------------------------


def test_h_score_by_hand() -> None:
    """Bao et al. with the shrunken covariance of Ledoit and Wolf, whose weight is computed as in their lemma 3.3."""
    f, labels = data(45, 4, 3)
    f = f - f.mean(axis=0)
    s, size = f.T @ f / 45, 4
    mean = np.trace(s) / size
    distance = np.sum((s - mean * np.eye(size)) ** 2) / size
    spread = sum(np.sum((np.outer(row, row) - s) ** 2) for row in f) / size / 45**2
    weight = min(spread, distance) / distance
    shrunken = (1 - weight) * s + weight * mean * np.eye(size)
    expected = np.stack([f[labels == label].mean(axis=0) for label in labels])  # E[f | y] of each example
    between = expected.T @ expected / 45
    assert 0 < weight < 1
    assert scores.h_score(f + 3.0, labels) == pytest.approx(np.trace(np.linalg.inv(shrunken) @ between) * (1 - weight))


def test_h_score_is_that_of_bao_where_there_are_many_examples() -> None:
    f, labels = data(20000, 3, 3)
    centred = f - f.mean(axis=0)
    expected = np.stack([centred[labels == label].mean(axis=0) for label in range(3)])[labels]
    plain = np.trace(np.linalg.inv(centred.T @ centred) @ (expected.T @ expected))
    assert scores.h_score(f, labels) == pytest.approx(plain, rel=0.01)
    assert plain < 2, "no more than classes - 1"


def test_h_score_with_more_features_than_examples_and_one_that_never_changes() -> None:
    f, labels = data(12, 30, 2)
    f[:, 3] = 7.0
    assert 0 < scores.h_score(f, labels) < 1
    assert scores.h_score(np.ones((6, 2)), np.arange(6) % 2) == 0


# --- the probe and the neighbours -------------------------------------------------------------------------------------


def test_the_probe_is_ridge_regression_with_the_penalty_of_the_least_leave_one_out_error() -> None:
    f, labels = data(24, 5, 2, apart=0.5, seed=2)
    folds = scores.folds_of(labels, 0, repeats=1)
    found = scores.probe(f, labels, folds)
    for place, (train, test) in enumerate(folds.each()):
        mean, scale = f[train].mean(axis=0), f[train].std(axis=0)
        x, z, y = (f[train] - mean) / scale, (f[test] - mean) / scale, 2.0 * labels[train] - 1

        def fitted(x: np.ndarray, y: np.ndarray, penalty: float, z: np.ndarray) -> np.ndarray:
            own = x - x.mean(axis=0)
            w = np.linalg.solve(own.T @ own + penalty * np.eye(5), own.T @ (y - y.mean()))
            return (z - x.mean(axis=0)) @ w + y.mean()

        errors = []
        for penalty in scores.PENALTIES:
            out = [fitted(np.delete(x, i, 0), np.delete(y, i), penalty, x[i : i + 1])[0] for i in range(len(x))]
            errors.append(np.sum((np.array(out) - y) ** 2))
        chosen = scores.PENALTIES[int(np.argmin(errors))]
        assert found[place] == np.mean((fitted(x, y, chosen, z) > 0) == labels[test])


def test_the_nearest_are_the_five_of_the_smallest_angles() -> None:
    """Lengths do not count: every vector has another one."""
    f, labels = data(60, 4, 2, apart=0.8)
    f *= 10.0 ** (np.arange(60) % 4)[:, None]
    folds = scores.folds_of(labels, 0, repeats=1)
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    for found, (train, test) in zip(scores.nearest(f, labels, folds), folds.each(), strict=True):
        near = train[np.argsort(-unit[test] @ unit[train].T, axis=1)[:, :5]]
        assert found == np.mean((labels[near].mean(axis=1) > 0.5) == labels[test])


def test_labels_of_a_test_part_shape_nothing() -> None:
    f, labels = data(40, 6, 2)
    folds = scores.folds_of(labels, 0, repeats=1)
    turned = np.where(folds.number[0] == 1, 1 - labels, labels)
    for score in (scores.probe, scores.nearest):
        assert score(f, labels, folds)[1] == pytest.approx(1 - score(f, turned, folds)[1])


def test_folds_are_stratified_repeated_and_the_same_for_a_seed() -> None:
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    folds = scores.folds_of(labels, 3)
    assert folds.number.shape == (2, 60)
    assert folds.count == 5
    assert [np.bincount(labels[test]).tolist() for _, test in folds.each()] == [[2, 4, 6]] * 10
    assert (folds.number[0] != folds.number[1]).any()
    assert (folds.number == scores.folds_of(labels, 3).number).all()
    assert (folds.number != scores.folds_of(labels, 4).number).any()
    assert scores.folds_of(np.repeat([0, 1], [3, 40]), 0).count == 3
    assert scores.folds_of(np.repeat([0, 1], [1, 40]), 0).count == 2


def test_groups_stay_together() -> None:
    labels, groups = np.arange(60) % 2, np.repeat(np.arange(12), 5)
    for repeat in scores.folds_of(labels, 0, groups).number:
        assert all(len(set(repeat[groups == group].tolist())) == 1 for group in range(12))


# --- differences ------------------------------------------------------------------------------------------------------


def test_the_corrected_interval_by_hand() -> None:
    """Four folds, two in a repeat: mean 0.1, S² 0.02 / 3, variance (1/4 + 1) · 0.02 / 3; t(3) at 97.5 % is 3.1824."""
    first, second = np.array([0.9, 0.8, 0.9, 0.8]), np.array([0.9, 0.7, 0.7, 0.7])
    found = resampled(first, second, folds=2, examples=10**9)
    assert found.value == pytest.approx(0.1)
    assert found.variance == pytest.approx(1.25 * 0.02 / 3)
    low, high = found.interval(0.95)
    assert high - 0.1 == pytest.approx(3.18245 * np.sqrt(1.25 * 0.02 / 3), rel=1e-4)
    assert low < 0
    assert found.interval(1 - found.p)[0] == pytest.approx(0, abs=1e-9)


def test_equal_counts_in_every_fold_are_not_certain() -> None:
    found = resampled(np.full(10, 0.9), np.full(10, 0.88), folds=5, examples=50)
    assert found.interval(0.95)[0] < 0
    assert resampled(np.full(10, 0.9), np.full(10, 0.9), folds=5, examples=50).p == 1


def test_the_interval_holds_its_level_where_there_is_no_difference() -> None:
    """Two sets of features that are drawn alike: one of 20 trials may be expected to find one better."""
    found = 0
    for trial in range(20):
        random = np.random.default_rng(trial)
        labels = np.arange(60) % 2
        means = random.normal(size=(2, 2, 8)) * 0.4
        one, other = (random.normal(size=(60, 8)) + mean[labels] * (1.6 / np.linalg.norm(mean[0] - mean[1])) for mean in means)
        folds = scores.folds_of(labels, trial)
        difference = resampled(scores.probe(one, labels, folds), scores.probe(other, labels, folds), folds.count, 60)
        found += difference.p < 0.05
    assert found <= 3
