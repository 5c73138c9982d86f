"""TF2 SavedModels as backbones that train: small modules that the test makes."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfl
from tests.conftest import WORDS
from tfl import Phase
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


class Words(tf.Module):
    """The mean embedding of a text's words, whose vocabulary is a file of its own: an asset of the SavedModel."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        whole, line = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
        lines = tf.lookup.TextFileInitializer(str(vocabulary), tf.string, whole, tf.int64, line)
        self.table = tf.lookup.StaticVocabularyTable(lines, num_oov_buckets=1)
        random = np.random.default_rng(0).normal(size=(len(WORDS) + 1, 8))
        self.embeddings = tf.Variable(random.astype("float32"), name="embeddings")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        ids = tf.ragged.map_flat_values(self.table.lookup, tf.strings.split(text))
        return tf.reduce_mean(tf.gather(self.embeddings, ids), axis=1)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    module = Image()
    for training in (False, True):
        module.__call__.get_concrete_function(tf.TensorSpec([None, 16, 16, 3], tf.float32), training=training)
    tf.saved_model.save(module, str(tmp_path / "module"))
    return str(tmp_path / "module")


class Bytes(tf.Module):
    """The mean of pixels that are whole numbers."""

    def __init__(self, height: int = 16) -> None:
        super().__init__()
        self.scale = tf.Variable(1.0, name="scale")
        spec = tf.TensorSpec([None, height, 16, 3], tf.uint8)
        self.__call__.get_concrete_function(spec)

    @tf.function(input_signature=None)
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(x, tf.float32), [1, 2]) * self.scale


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
    assert after[1] == 0.0  # a statistic of the module stays, as those of BatchNorm layers do
    np.testing.assert_allclose(backbone(images), images.mean((1, 2)) @ after[0], rtol=1e-4, atol=1e-5)

    register_layers()
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "model.keras")(images), model(images), rtol=1e-5, atol=1e-6)
    backbone.model.save_weights(tmp_path / "module.weights.h5")
    fresh = load("hub", weights=folder)
    fresh.model.load_weights(tmp_path / "module.weights.h5")
    np.testing.assert_allclose(fresh(images), backbone(images), rtol=1e-5, atol=1e-6)

    backbone.unfreeze("all", batch_norm="train")
    train(backbone, images)
    assert values(backbone)[1] == 2.0  # `training` reaches the module

    backbone.trainable = False
    assert backbone.model.trainable_variables == []
    frozen = values(backbone)
    train(backbone, images)
    for kept, now in zip(frozen, values(backbone), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_other_weights_are_told_apart_without_a_file_of_weights(folder: str, tmp_path: Path) -> None:
    first = load("hub", weights=folder).weights.sha256
    assert first == load("hub", weights=folder).weights.sha256
    module = tf.saved_model.load(folder)
    module.kernel.assign_add(tf.ones_like(module.kernel))
    tf.saved_model.save(module, str(tmp_path / "other"))
    other = load("hub", weights=str(tmp_path / "other")).weights.sha256
    assert (len(first), first != other) == (64, True)


def test_strings(tmp_path: Path) -> None:
    tf.saved_model.save(Text(), str(tmp_path / "text"))
    backbone = load(str(tmp_path / "text"))
    assert backbone.modality == "text"
    np.testing.assert_allclose(backbone(backbone.preprocess(["abc", "a"])), [[3.0] * 4, [1.0] * 4])
    backbone.preprocess.save(tmp_path / "saved")
    assert load_preprocess(tmp_path / "saved")(["a"])["text"].shape == (1,)


def test_a_run_on_images(folder: str, photos: Path, tmp_path: Path) -> None:
    phases = [Phase(trainable="head", epochs=1), Phase(trainable="all", epochs=1, learning_rate=1e-2)]
    fields = {"backbone": {"name": "hub", "weights": folder}, "data": {"batch_size": 8}, "phases": phases}
    run = tfl.finetune(str(photos), out=tmp_path / "run", **fields)
    head, whole = run.report.phases
    assert (head.moved.changed, head.moved.frozen) == (2, 2)
    assert (whole.moved.changed, whole.moved.frozen, whole.moved.still) == (3, 1, ())
    shutil.rmtree(folder)
    files = sorted(str(path) for path in photos.rglob("*.png"))[:5]
    again = is_read_back(run, files)
    served = exported(again, tmp_path, images=tf.constant([Path(file).read_bytes() for file in files]))
    np.testing.assert_allclose(served["probabilities"][:, 0], run.predict(files)["p_bright"], atol=1e-6)


def test_a_file_without_its_module(folder: str, tmp_path: Path) -> None:
    load("hub", weights=folder).model.save(tmp_path / "whole.keras")
    with zipfile.ZipFile(tmp_path / "whole.keras") as whole, zipfile.ZipFile(tmp_path / "part.keras", "w") as part:
        for name in whole.namelist():
            if not name.startswith("assets"):
                part.writestr(name, whole.read(name))
    model = keras.models.load_model(tmp_path / "part.keras")
    with pytest.raises(UserError, match=r"^module: the SavedModel of this TF Hub module is missing"):
        model({"image": np.zeros((1, 16, 16, 3), "float32")})


def test_statistics_that_train(folder: str, photos: Path, tmp_path: Path) -> None:
    phases = [Phase(trainable="all", epochs=2, learning_rate=1e-2, batch_norm="train", keep="best")]
    fields = {"backbone": {"name": "hub", "weights": folder}, "data": {"batch_size": 8}, "phases": phases}
    run = tfl.finetune(str(photos), out=tmp_path / "run", **fields)
    (phase,) = run.report.phases
    steps = -(-run.report.data["sizes"]["train"] // 8)
    (seen,) = (v for v in run.model.variables if v.path.endswith("seen"))
    assert float(seen.numpy()) == phase.kept_epoch * steps  # those of the kept epoch, like the weights
    is_read_back(run, sorted(str(path) for path in photos.rglob("*.png"))[:5])


def test_a_run_on_texts(calls: Path, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    tf.saved_model.save(Words(tmp_path / "words.txt"), str(tmp_path / "module"))
    (tmp_path / "words.txt").unlink()
    phases = [Phase(trainable="head", epochs=1), Phase(trainable="all", epochs=8, learning_rate=3e-2)]
    data = {"label": "tone", "batch_size": 8}
    run = tfl.finetune(str(calls), backbone=str(tmp_path / "module"), data=data, phases=phases, out=tmp_path / "run")
    assert [phase.moved.changed for phase in run.report.phases] == [2, 3]
    assert run.metrics["accuracy"]["value"] > 0.8
    shutil.rmtree(tmp_path / "module")
    texts = ["sales rose", "costs fell sharply again", "never seen"]
    again = is_read_back(run, texts)
    served = exported(again, tmp_path, text=tf.constant(texts))
    np.testing.assert_allclose(served["probabilities"][:, 0], run.predict(texts)["p_down"], atol=1e-6)
    again.model.save(tmp_path / "again.keras")  # what was read from a file goes into one again
    reread = keras.models.load_model(tmp_path / "again.keras")
    np.testing.assert_allclose(reread({"text": tf.constant(texts)})["tone"], again.model({"text": tf.constant(texts)})["tone"])


def is_read_back(run: Any, inputs: list[str]) -> Any:
    again = tfl.load(run.directory)
    pd.testing.assert_frame_equal(again.predict(inputs), run.predict(inputs))
    return again


def exported(run: Any, folder: Path, **inputs: tf.Tensor) -> Any:
    return tf.saved_model.load(str(run.export(folder / "exported"))).signatures["serving_default"](**inputs)


def test_texts_on_several_devices_and_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tf.saved_model.save(Text(), str(tmp_path / "text"))
    table = pd.DataFrame(
        {"text": [f"{'ab'[place % 2]} {place}" for place in range(20)], "pair": ["c", "d"] * 10, "label": ["x", "y"] * 10}
    )
    columns = {"text": "text", "text_pair": "pair", "label": "label"}
    with pytest.raises(UserError, match="reads one text"):
        tfl.finetune(table, backbone=str(tmp_path / "text"), data=columns, out=tmp_path / "run")
    monkeypatch.setattr(type(tf.distribute.get_strategy()), "num_replicas_in_sync", 2)
    with pytest.raises(UserError, match="distribute: cpu"):
        load(str(tmp_path / "text"))


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a hub module is its weights"):
        load("hub")
    with pytest.raises(UserError, match=r"no saved_model\.pb"):
        load("hub", weights=str(tmp_path))


def test_a_module_that_takes_whole_numbers_gets_pixels_of_0_to_255(tmp_path: Path) -> None:
    tf.saved_model.save(Bytes(), str(tmp_path / "module"))
    backbone = load("hub", weights=str(tmp_path / "module"))
    pixels = np.full((2, 16, 16, 3), 200, np.uint8)
    prepared = np.asarray(backbone.preprocess(tf.constant(pixels)))
    np.testing.assert_allclose(backbone.model.predict(prepared - 0.3, verbose=0), 200)
    np.testing.assert_allclose(backbone.model.predict(prepared + 99, verbose=0), 255)


def test_a_module_for_images_that_are_not_square_is_refused(tmp_path: Path) -> None:
    tf.saved_model.save(Bytes(height=8), str(tmp_path / "module"))
    with pytest.raises(UserError, match="images of 8 × 16; a backbone gets square ones"):
        load("hub", weights=str(tmp_path / "module"))
