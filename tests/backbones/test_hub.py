"""TF2 SavedModels as backbones that train: small modules that the test makes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfl.backbones import load, load_preprocess, register_layers
from tfl.config import UserError


class Image(tf.Module):
    """A dense layer on the mean colour, with a statistic that moves in training."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(3, 4)).astype("float32"), name="kernel")
        self.seen = tf.Variable(0.0, trainable=False, name="seen")

    @tf.function(input_signature=None)
    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training:
            self.seen.assign_add(1.0)
        return tf.reduce_mean(x, [1, 2]) @ self.kernel


class Text(tf.Module):
    """Counts letters."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(tf.ones((1, 4)), name="kernel")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.strings.length(text), tf.float32)[:, None] @ self.kernel


@pytest.fixture
def folder(tmp_path: Path) -> str:
    module = Image()
    for training in (False, True):
        module.__call__.get_concrete_function(tf.TensorSpec([None, 16, 16, 3], tf.float32), training=training)
    tf.saved_model.save(module, str(tmp_path / "module"))
    return str(tmp_path / "module")


def train(backbone: object, images: np.ndarray) -> keras.Model:
    features = backbone.model.outputs[0]
    model = keras.Model(backbone.model.inputs, keras.layers.Dense(2)(features))
    model.compile("sgd", "mse")
    model.fit(images, np.ones((len(images), 2)), epochs=2, verbose=0)
    return model


def values(backbone: object) -> list[np.ndarray]:
    return [v.numpy().copy() for v in backbone.model.weights]


def test_it_trains_is_frozen_and_comes_back(folder: str, tmp_path: Path) -> None:
    images = np.random.default_rng(1).uniform(0, 1, (8, 16, 16, 3)).astype("float32")
    backbone = load("hub", weights=folder)
    assert backbone.modality == "image"
    assert backbone.trainable == ("module",)
    assert backbone.preprocess.size == (16, 16)
    np.testing.assert_allclose(backbone.preprocess(np.full((1, 1, 1, 3), 255)), 1.0)
    assert len(backbone.model.trainable_variables) == 1
    before = values(backbone)
    model = train(backbone, images)
    after = values(backbone)
    assert not np.allclose(before[0], after[0])
    assert after[1] == 2.0  # `training` reaches the module
    np.testing.assert_allclose(backbone(images), images.mean((1, 2)) @ after[0], rtol=1e-4, atol=1e-5)

    register_layers()
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(images), model(images), rtol=1e-5, atol=1e-6)
    backbone.model.save_weights(tmp_path / "module.weights.h5")
    fresh = load("hub", weights=folder)
    fresh.model.load_weights(tmp_path / "module.weights.h5")
    np.testing.assert_allclose(fresh(images), backbone(images), rtol=1e-5, atol=1e-6)

    backbone.trainable = False
    assert backbone.model.trainable_variables == []
    frozen = values(backbone)
    train(backbone, images)
    for kept, now in zip(frozen, values(backbone), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_strings(tmp_path: Path) -> None:
    tf.saved_model.save(Text(), str(tmp_path / "text"))
    backbone = load(str(tmp_path / "text"))
    assert backbone.modality == "text"
    np.testing.assert_allclose(backbone(backbone.preprocess(["abc", "a"])), [[3.0] * 4, [1.0] * 4])
    backbone.preprocess.save(tmp_path / "saved")
    assert load_preprocess(tmp_path / "saved")(["a"])["text"].shape == (1,)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a hub module is its weights"):
        load("hub")
    with pytest.raises(UserError, match=r"no saved_model\.pb"):
        load("hub", weights=str(tmp_path))
