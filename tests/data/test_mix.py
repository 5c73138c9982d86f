"""MixUp and CutMix: what they make of two images and their labels."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfl.data.augment import Augment, example_seed, mix

# --- MixUp and CutMix -------------------------------------------------------------------------------------------------


@pytest.fixture
def batch() -> dict[str, np.ndarray]:
    """Images of one value each, 10 · their label, so that a mixed pixel tells whose it is."""
    label = np.arange(16)
    return {"image": np.broadcast_to(label[:, None, None, None] * 10.0, (16, 20, 30, 3)).astype("f4"), "label": label}


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_is_the_weighted_mean(batch: dict[str, np.ndarray], alpha: float) -> None:
    result = mix(batch, tf.constant([1, 5]), Augment(mixup=alpha))
    weight, partner = result["mix_weight"].numpy(), result["label_mixed"].numpy()
    assert sorted(partner) == list(range(16))
    np.testing.assert_array_equal(result["label"], batch["label"])
    expected = weight * batch["label"] * 10 + (1 - weight) * partner * 10
    np.testing.assert_allclose(result["image"][:, 3, 4, 1], expected, atol=1e-3)


def test_mixup_weights_follow_the_beta_distribution(batch: dict[str, np.ndarray]) -> None:
    data = tf.data.Dataset.range(300).map(lambda step: mix(batch, example_seed(0, 0, step), Augment(mixup=0.2)))
    weights = np.concatenate([item["mix_weight"].numpy() for item in data])
    assert abs(weights.mean() - 0.5) < 0.02
    assert abs(weights.var() - 1 / (4 * (2 * 0.2 + 1))) < 0.01


def test_cutmix_weight_is_the_exact_area(batch: dict[str, np.ndarray]) -> None:
    weights = []
    for step in range(8):
        result = mix(batch, tf.constant([1, step]), Augment(cutmix=1.0))
        own, partner = batch["label"] * 10, result["label_mixed"].numpy() * 10
        values = result["image"].numpy()[..., 0]
        is_own, is_partner = values == own[:, None, None], values == partner[:, None, None]
        assert (is_own | is_partner).all()
        differs = own != partner
        np.testing.assert_allclose(result["mix_weight"][differs], is_own.mean(axis=(1, 2))[differs], atol=1e-6)
        for box in is_partner[differs]:
            if box.any():
                rows, columns = np.nonzero(box)
                assert box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
        weights.extend(result["mix_weight"].numpy())
    assert min(weights) < 0.3
    assert max(weights) > 0.9


def test_with_both_a_coin_a_batch_decides(batch: dict[str, np.ndarray]) -> None:
    data = tf.data.Dataset.range(60).map(
        lambda step: mix(batch, example_seed(0, 0, step), Augment(mixup=1.0, cutmix=1.0)), num_parallel_calls=4
    )
    up = [all(len(np.unique(image)) == 1 for image in item["image"].numpy()) for item in data]  # no box in any
    assert 15 < sum(up) < 45


def test_mix_is_reproducible_and_takes_multi_hot_labels(batch: dict[str, np.ndarray]) -> None:
    batch = {**batch, "label": np.eye(16, dtype=np.float32)}
    config = Augment(mixup=0.3, cutmix=1.0)
    one = mix(batch, example_seed(3, 1, 4), config)
    (two,) = tf.data.Dataset.from_tensors(batch).map(lambda item: mix(item, example_seed(3, 1, 4), config))
    assert one["label_mixed"].shape == (16, 16)
    for key in one:
        np.testing.assert_allclose(one[key], two[key], atol=1e-4)


def test_without_mixing_the_batch_comes_back(batch: dict[str, np.ndarray]) -> None:
    assert mix(batch, tf.constant([0, 0]), Augment()) is batch
