"""Class weights: inverse to the counts, also of examples that are mixed."""

from __future__ import annotations

import numpy as np

from tfl.tasks import Config, make


def test_class_weights_are_those_of_both_that_are_mixed() -> None:
    batch = {"label": np.asarray([0, 1]), "label_mixed": np.asarray([1, 1]), "mix_weight": np.float32([0.25, 0.5])}
    task = make(Config(class_weight="balanced"), "classification", ("a", "b"), np.asarray([0, 0, 0, 1]))
    np.testing.assert_allclose(task.weights(batch), [0.25 * 4 / 6 + 0.75 * 2, 2], rtol=1e-6)
    both = make(Config(class_weight="balanced"), "multilabel", ("a", "b"), np.asarray([[1, 0], [1, 0], [1, 0], [0, 1.0]]))
    labels = {"label": np.asarray([[1, 0], [0, 0]]), "label_mixed": np.asarray([[0, 1], [0, 1]])}
    one, other = both.class_weights
    found = both.weights({**batch, **labels})
    np.testing.assert_allclose(found, [0.25 * one + 0.75 * other, 0.5 + 0.5 * other], rtol=1e-6)


def test_class_weights_are_inverse_to_the_counts() -> None:
    task = make(Config(class_weight="balanced"), "classification", ("a", "b"), np.asarray([0, 0, 0, 1]))
    batch = {"label": np.asarray([0, 1])}
    np.testing.assert_allclose(task.weights(batch), [4 / 6, 4 / 2], rtol=1e-6)
