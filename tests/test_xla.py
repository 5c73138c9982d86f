"""What a TPU would compile: the training step under XLA, on static shapes, gives what it gives uncompiled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config

from tfl import backbones, distribute, models
from tfl.cut import cut
from tfl.data import Columns
from tfl.data.examples import digest, digests, strings
from tfl.data.pipeline import prepare
from tfl.phases import Last, Lora, Phase, Trainable
from tfl.step import Stepper
from tfl.tasks.classification import Classification
from tfl.training import Supervised

TASKS = {"label": Classification(class_names=("down", "up"), dropout=0.0)}
SIDES = {"vgg16": 32, "resnet50": 32, "inception_v3": 75}


@pytest.fixture(autouse=True)
def _as_on_a_tpu() -> Iterator[None]:
    """Without TensorFlow's switch for determinism, which a run on a TPU leaves alone: XLA refuses to pool with it."""
    was = config.is_op_determinism_enabled()
    config.disable_op_determinism()
    yield
    if was:
        config.enable_op_determinism()


def rows(inputs: dict[str, Any], count: int) -> Columns:
    ids = strings(range(count))
    return Columns(ids=ids, inputs=inputs, labels=np.arange(count) % 2, digests=digests(digest(i.encode()) for i in ids))


def losses(backbone: Any, examples: Columns, trainable: Trainable) -> tuple[list[float], list[float]]:
    """Of three steps, uncompiled and compiled, from the same weights."""
    with distribute.strategy("cpu").scope():
        model = models.build(backbone, TASKS)
    models.set_trainable(model, backbone, trainable)
    start = [variable.numpy() for variable in model.variables]
    stream = prepare(examples, backbone.preprocess, modality=backbone.modality, batch_size=4, training=True, static=True)
    batches = next(iter(stream.epoch()))
    assert all(None not in tensor.shape for tensor in batches.values())
    phase = Phase(trainable=trainable, learning_rate=1e-3, ema=0.9, warmup=0)
    found = []
    for compiled in (False, True):
        for variable, value in zip(model.variables, start, strict=True):
            variable.assign(value)
        stepper = Stepper(
            cut(model), Supervised(TASKS), models.groups(model, backbone, phase), phase, 8, tf.distribute.get_strategy()
        )
        step = tf.function(lambda stepper=stepper: stepper._replica({"train": batches}), jit_compile=compiled, autograph=False)
        found.append([float(step()["loss"]) for _ in range(3)])
    return found[0], found[1]


@pytest.mark.parametrize("trainable", ["head", Last(last=1), "all"], ids=str)
@pytest.mark.parametrize("name", list(SIDES))
def test_the_step_of_an_image_network_compiles(name: str, trainable: Trainable) -> None:
    keras.utils.set_random_seed(0)
    backbone = backbones.load(name, weights="none", image_size=SIDES[name])
    images = np.random.default_rng(0).integers(0, 255, (8, SIDES[name], SIDES[name], 3)).astype(np.uint8)
    plain, compiled = losses(backbone, rows({"image": images}, 8), trainable)
    assert plain[0] != plain[2]
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("trainable", ["head", Last(last=1), Lora(lora=2), "all"], ids=str)
def test_the_step_of_a_bert_compiles(trainable: Trainable, tiny_bert: Path) -> None:
    keras.utils.set_random_seed(0)
    backbone = backbones.load(str(tiny_bert))
    for layer in backbone.model._flatten_layers():  # XLA draws other masks
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    plain, compiled = losses(backbone, rows({"text": strings(["sales rose", "sales fell again"] * 4)}, 8), trainable)
    assert plain[0] != plain[2]
    np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
