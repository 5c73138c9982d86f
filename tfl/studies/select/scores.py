"""How much frozen features tell about labels, before anything is trained: four scores of the literature."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.data.batches import stream_seed

NEIGHBOURS = 5
PENALTIES = tuple(10.0**power for power in range(-2, 6))
"""Ridge penalties that the probe chooses from, on features of unit variance."""
FOLDS, REPEATS = 5, 2


@dataclass(frozen=True, kw_only=True)
class Folds:
    """Cross-validation, repeated with other folds; the same for every candidate, so that candidates are paired by it."""

    number: np.ndarray
    """[repeats, N] int: the fold in which each example is tested."""

    @property
    def count(self) -> int:
        """Folds of a repeat."""
        return int(self.number.max()) + 1

    @property
    def repeats(self) -> int:
        """How often all examples are cut into folds."""
        return len(self.number)

    def each(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each fold of each repeat the positions to fit on, and those to test on."""
        for repeat in self.number:
            for fold in range(self.count):
                yield np.flatnonzero(repeat != fold), np.flatnonzero(repeat == fold)


def folds_of(labels: np.ndarray, seed: int, groups: np.ndarray | None = None, repeats: int = REPEATS) -> Folds:
    """Stratified folds, five or as many as the rarest class has examples (at least two); `groups` stay together.

    `labels` [N] int, `groups` [N] or None.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = int(np.clip(np.bincount(labels)[np.unique(labels)].min(), 2, FOLDS))
    if groups is not None:
        count = min(count, max(2, len(np.unique(groups))))
    number = np.zeros((repeats, len(labels)), np.int64)
    for repeat in range(repeats):
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        made = kind(count, shuffle=True, random_state=stream_seed(seed, repeat) % (2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class of one example is in one fold alone
            for fold, (_, test) in enumerate(made.split(labels[:, None], labels, groups)):
                number[repeat, test] = fold
    return Folds(number=number)


def probe(features: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """Accuracy of a regularised linear probe in each fold of `folds`, [repeats * count], in the order of `folds.each()`.

    A ridge classifier on features of unit variance; its penalty is chosen within the training part of a fold, by the exact
    leave-one-out error. `features` [N, D] float, `labels` [N] int.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.asarray(features, np.float64)  # quicker than in float32, which is turned into it again and again
    return _accuracies(
        lambda _: make_pipeline(StandardScaler(), RidgeClassifierCV(np.array(PENALTIES))), features, labels, folds
    )


def nearest(features: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    """Accuracy of the 5 nearest neighbours by cosine similarity in each fold of `folds`, as in `probe`."""
    from sklearn.neighbors import KNeighborsClassifier

    return _accuracies(
        lambda count: KNeighborsClassifier(min(NEIGHBOURS, count), metric="cosine", algorithm="brute"), features, labels, folds
    )


def _accuracies(make: Callable[[int], Any], features: np.ndarray, labels: np.ndarray, folds: Folds) -> np.ndarray:
    found = []
    for train, test in folds.each():
        fitted = make(len(train)).fit(features[train], labels[train])
        found.append(np.mean(fitted.predict(features[test]) == labels[test]))
    return np.array(found)


def log_me(features: np.ndarray, labels: np.ndarray) -> float:
    """Logarithm of maximum evidence, an example and class (You et al. 2021, arXiv:2102.11005, equations 2 and 3).

    Of each class, the labels y in {0, 1}^N are taken as F w + noise, with w ~ N(0, 1/alpha) and noise ~ N(0, 1/beta). Then

        log p(y | F, alpha, beta) = N/2 log beta + D/2 log alpha - N/2 log 2 pi
                                    - beta/2 |F m - y|² - alpha/2 |m|² - 1/2 log |A|

    with A = alpha I + beta F'F and m = beta A^-1 F'y; LogME is its maximum over alpha and beta, divided by N, and the mean
    over the classes. For a ratio t = alpha / beta the best beta is known, so that the maximum is sought over t alone: y has
    the covariance (I + F F' / t) / beta, and in the eigenvectors of F F' everything is a sum. `features` [N, D], `labels`
    [N] int; the higher the better.
    """
    f = np.asarray(features, np.float64)
    targets = (labels[:, None] == np.unique(labels)).astype(np.float64)
    squares, projected = _spectrum(f, targets)
    rest = np.maximum((targets**2).sum(axis=0) - projected.sum(axis=0), 0.0)
    return float(np.mean([_evidence(squares, own, left, len(f)) for own, left in zip(projected.T, rest, strict=True)]))


def _spectrum(f: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues of `f f'` that are not 0, [K], and the squared part of each of `targets` along their vectors, [K, C]."""
    from scipy import linalg

    if len(f) <= f.shape[1]:
        squares, vectors = linalg.eigh(f @ f.T)
        projected = (vectors.T @ targets) ** 2
    else:
        squares, vectors = linalg.eigh(f.T @ f)
        projected = (vectors.T @ (f.T @ targets)) ** 2 / np.maximum(squares, np.finfo(float).tiny)[:, None]
    kept = squares > max(float(squares[-1]), np.finfo(float).tiny) * 1e-12
    return squares[kept], projected[kept]


def _evidence(squares: np.ndarray, projected: np.ndarray, rest: float, count: int) -> float:
    """The largest log evidence of one target, an example. `rest`: the squared part of it that no feature reaches."""
    from scipy import optimize

    if not len(squares):  # no feature is anything but 0
        return -float(np.log(2 * np.pi * rest / count) + 1) / 2

    def lost(log_ratio: float) -> float:
        ratio = np.exp(log_ratio)
        variance = (np.sum(projected * (ratio / (ratio + squares))) + rest) / count
        return float(np.log(2 * np.pi * variance) + 1 + np.sum(np.log1p(squares / ratio)) / count) / 2

    grid = np.log(squares[-1]) + np.linspace(-25, 25, 51)
    start = int(np.argmin([lost(point) for point in grid]))
    around = grid[max(start - 1, 0)], grid[min(start + 1, len(grid) - 1)]
    return -float(optimize.minimize_scalar(lost, bounds=around, method="bounded", options={"xatol": 1e-6}).fun)


def h_score(features: np.ndarray, labels: np.ndarray) -> float:
    """H-score with a shrunken covariance (Ibrahim, Ponomareva and Mazumder 2021, arXiv:2110.06893, equation 7).

    Bao et al. 2019 ("An Information-Theoretic Approach to Transferability in Task Transfer Learning", ICIP) have
    tr(cov(f)^-1 cov(E[f | y])): how much of the variance of the features is one between classes; from 0 to classes - 1. With
    fewer examples than features, cov(f) cannot be inverted. Here it is (1 - a) cov(f) + a s I, with s the mean variance of a
    feature and `a` by Ledoit and Wolf (2004), and cov(E[f | y]) has the factor 1 - a. Covariances are divided by N.
    `features` [N, D], `labels` [N] int; the higher the better.
    """
    from scipy import linalg
    from sklearn.covariance import ledoit_wolf_shrinkage

    f = np.asarray(features, np.float64)
    f = f - f.mean(axis=0)
    if not f.any():
        return 0.0
    shrinkage = float(ledoit_wolf_shrinkage(f, assume_centered=True))
    covariance = (1 - shrinkage) * (f.T @ f) / len(f)
    covariance.flat[:: len(covariance) + 1] += shrinkage * float((f**2).mean())
    classes = [f[labels == label] for label in np.unique(labels)]
    means = np.stack([own.mean(axis=0) * np.sqrt(len(own) / len(f)) for own in classes])
    try:
        solved = linalg.solve(covariance, means.T, assume_a="pos")
    except linalg.LinAlgError:  # features that never change, and so many examples that nothing is shrunk
        solved = linalg.pinvh(covariance) @ means.T
    return (1 - shrinkage) * float(np.sum(means.T * solved))
