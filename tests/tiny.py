"""Networks and data small enough for a unit test."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tfl.backbones import Backbone, Block, ImagePreprocess, WeightsReport
from tfl.data import Columns
from tfl.data.batches import Batches
from tfl.data.examples import digest, digests
from tfl.data.pipeline import ImageBatches

SIZE = 16


def backbone() -> Backbone:
    """Three blocks of convolution and BatchNorm on 16 x 16 images, random weights, dropout in the middle one."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x, blocks = image, []
    for number, width in enumerate((8, 8, 16), start=1):
        layers = [
            keras.layers.Conv2D(width, 3, strides=2, padding="same", name=f"block{number}_conv"),
            keras.layers.BatchNormalization(name=f"block{number}_bn"),
            keras.layers.ReLU(name=f"block{number}_relu"),
        ]
        if number == 2:
            layers.append(keras.layers.Dropout(0.5, name="block2_dropout"))
        for layer in layers:
            x = layer(x)
        blocks.append(Block(f"block{number}", tuple(layers)))
    features = keras.layers.GlobalAveragePooling2D(name="features")(x)
    return Backbone(
        name="tiny",
        modality="image",
        model=keras.Model({"image": image}, features, name="tiny"),
        outputs={"features": features, "map": x},
        preprocess=ImagePreprocess(size=(SIZE, SIZE), mode="unit"),
        blocks=blocks,
        weights=WeightsReport("none (random)"),
    )


def examples(count: int = 40, seed: int = 0) -> Columns:
    """Two classes of noisy squares: dark ones and bright ones."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int64) % 2
    images = np.clip(random.normal(90 + 70 * labels[:, None, None, None], 40, (count, SIZE, SIZE, 3)), 0, 255)
    ids = np.asarray([f"{place:04}" for place in range(count)], object)
    images = images.astype(np.uint8)
    hashed = digests(digest(image.tobytes()) for image in images)
    return Columns(ids=ids, inputs={"image": images}, labels=labels, digests=hashed)


def batches(rows: Columns, **fields: Any) -> Batches:
    """The batches of `rows` for `backbone()`."""
    fields = {"batch_size": 8, **fields}
    return ImageBatches(examples=rows, preprocess=ImagePreprocess(size=(SIZE, SIZE), mode="unit"), size=(SIZE, SIZE), **fields)
