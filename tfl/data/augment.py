"""Augmentation with stateless ops: the same image and seed give the same result, eagerly and in a parallel `map`.

The order is: one geometric op for crop, flips and rotation; RandAugment; one affine map of the colours. Masks that mix
two examples of a batch (MixUp, CutMix) come last, in `mix`. Seeds come from `example_seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.config import require
from tfl.data import randaugment
from tfl.lazy import tf


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of training images. Each is drawn from (run seed, epoch, example)."""

    flip: bool = True
    """Mirror left and right, with probability 1/2."""
    vertical_flip: bool = False
    """Mirror top and bottom, with probability 1/2."""
    crop: float = 0.6
    """Smallest part of the area that a random crop keeps, above 0; its aspect changes by 3/4 to 4/3. 1: no crop."""
    color: float = 0.2
    """Brightness, contrast and saturation change by factors from 1 - color to 1 + color, 0 to 1. 0: none."""
    hue: float = 0.0
    """Largest turn of the hue either way, 0 to 0.5 of the colour circle. 0: none."""
    rotate: float = 0.0
    """Largest rotation either way, 0 to 180 degrees; corners are filled by reflection. 0: none."""
    randaugment: int = 0
    """Operations of RandAugment an image (Cubuk et al. 2020, arXiv:1909.13719); 2 is usual. 0: none."""
    magnitude: int = 9
    """Strength of RandAugment's operations, 0 to 10."""
    mixup: float = 0.0
    """Alpha of MixUp, 0.2 is usual (Zhang et al. 2018, arXiv:1710.09412). 0: none."""
    cutmix: float = 0.0
    """Alpha of CutMix, 1 is usual (Yun et al. 2019, arXiv:1905.04899). 0: none. With mixup: by a coin a batch."""

    def __post_init__(self) -> None:
        checks = {
            "crop": (0 < self.crop <= 1, "above 0, at most 1"),
            "color": (0 <= self.color <= 1, "from 0 to 1"),
            "hue": (0 <= self.hue <= 0.5, "from 0 to 0.5"),
            "rotate": (0 <= self.rotate <= 180, "degrees from 0 to 180"),
            "randaugment": (self.randaugment >= 0, "0 or more operations"),
            "magnitude": (0 <= self.magnitude <= 10, "from 0 to 10"),
            "mixup": (self.mixup >= 0, "0 or more"),
            "cutmix": (self.cutmix >= 0, "0 or more"),
        }
        require(self, checks)

    @property
    def mixes(self) -> bool:
        """Whether `mix` does anything, so that labels have a partner."""
        return self.mixup > 0 or self.cutmix > 0


def example_numbers(digests: np.ndarray) -> np.ndarray:
    """A number for each example made of its content, whatever split, fold or order it is in: [N] int64, 0 to 2^60 - 1.

    `digests`: [N] S32, as in `Columns`.
    """
    return np.array([int(digest[:15], 16) for digest in digests.tolist()], np.int64)


def example_seed(seed: int | tf.Tensor, epoch: int | tf.Tensor, number: int | tf.Tensor) -> tf.Tensor:
    """The seed, [2] int64, of one example in one epoch of a run; distinct for all epochs below 1,000,003.

    `number`: of `example_numbers`.
    """
    high = tf.cast(seed, tf.int64) * 1_000_003 + tf.cast(epoch, tf.int64)
    return tf.stack([high, tf.cast(number, tf.int64)])


def augment(image: tf.Tensor, seed: tf.Tensor, config: Augment) -> tf.Tensor:
    """`image`, [h, w, 3] float32 in 0..255, changed at random as `config` says; same shape, dtype and range.

    `seed`: [2] int32 or int64; equal seeds give equal results.
    """
    draw = _uniform(tf.cast(seed, tf.int64), 11 + 3 * config.randaugment)
    shape = image.shape
    image = _geometry(image, draw[:7], config)
    for step in range(config.randaugment):
        at = 11 + 3 * step
        image = randaugment.apply(image, draw[at : at + 3], config.magnitude / 10)
    return tf.ensure_shape(_colors(image, draw[7:11], config), shape)


def _uniform(seed: tf.Tensor, count: int) -> tf.Tensor:
    """[count] float32 in 0..1; one op for all draws of an example, and one algorithm on all devices."""
    return tf.random.stateless_uniform([count], seed, alg="philox")


# --- where pixels come from -------------------------------------------------------------------------------------------


def _geometry(image: tf.Tensor, draw: tf.Tensor, config: Augment) -> tf.Tensor:
    """Crop, flips and rotation in one resampling."""
    if not (config.flip or config.vertical_flip or config.crop < 1 or config.rotate):
        return image
    top, left, bottom, right = _crop_box(draw[:4], config.crop)
    if config.flip:
        left, right = _swap(draw[4] < 0.5, left, right)
    if config.vertical_flip:
        top, bottom = _swap(draw[5] < 0.5, top, bottom)
    size = tf.shape(image)[:2]
    if not config.rotate:
        return tf.image.crop_and_resize(image[None], tf.stack([top, left, bottom, right])[None], [0], size)[0]
    height, width = tf.unstack(tf.cast(size - 1, tf.float32))
    angle = (2 * draw[6] - 1) * math.radians(config.rotate)
    # From the output to the input: scale by the size of the crop, turn, move to the middle of the crop.
    scale_x, scale_y = right - left, bottom - top
    matrix = (
        (tf.cos(angle) * scale_x, -tf.sin(angle) * scale_y),
        (tf.sin(angle) * scale_x, tf.cos(angle) * scale_y),
    )
    return randaugment.affine(image, matrix, ((left + right) * width / 2, (top + bottom) * height / 2), fill="REFLECT")


def _crop_box(draw: tf.Tensor, smallest: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """(top, left, bottom, right) of a crop in parts of the image; the aspect ratio is drawn from those that fit."""
    area = smallest + (1 - smallest) * draw[0]
    limit = tf.minimum(math.log(4 / 3), -tf.math.log(area))
    aspect = tf.exp((2 * draw[1] - 1) * limit)
    height, width = tf.minimum(tf.sqrt(area / aspect), 1.0), tf.minimum(tf.sqrt(area * aspect), 1.0)
    top, left = draw[2] * (1 - height), draw[3] * (1 - width)
    return top, left, top + height, left + width


def _swap(condition: tf.Tensor, one: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.where(condition, other, one), tf.where(condition, one, other)


# --- colours ----------------------------------------------------------------------------------------------------------


def _colors(image: tf.Tensor, draw: tf.Tensor, config: Augment) -> tf.Tensor:
    """Brightness, contrast, saturation and hue: together one affine map of each pixel's colour, then cut to 0..255."""
    if not (config.color or config.hue):
        return tf.clip_by_value(image, 0.0, 255.0)
    brightness, contrast, saturation = tf.unstack(1 + config.color * (2 * draw[:3] - 1))
    matrix = saturation * tf.eye(3) + (1 - saturation) * tf.constant(randaugment.GREY)[:, None]
    if config.hue:
        matrix = tf.matmul(matrix, _turn_hue((2 * draw[3] - 1) * config.hue))
    # Both matrices map a grey to itself, so the grey that contrast pulls to can be added at the end.
    middle = tf.tensordot(tf.reduce_mean(image, [0, 1]), tf.constant(randaugment.GREY), 1)
    pixels = tf.matmul(tf.reshape(image, [-1, 3]), brightness * contrast * matrix)
    pixels = pixels + brightness * (1 - contrast) * middle
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), tf.shape(image))


_TO_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


def _turn_hue(turn: tf.Tensor) -> tf.Tensor:
    """[3, 3], to be multiplied from the right, that turns colours about the grey axis by `turn` of a full circle."""
    cos, sin = tf.cos(2 * math.pi * turn), tf.sin(2 * math.pi * turn)
    rotation = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), [3, 3])
    to_yiq = tf.constant(_TO_YIQ)
    return tf.transpose(tf.linalg.inv(to_yiq) @ rotation @ to_yiq)


# --- two examples in one ----------------------------------------------------------------------------------------------


def mix(batch: dict[str, Any], seed: tf.Tensor, config: Augment) -> dict[str, Any]:
    """`batch` with MixUp or CutMix applied to "image", [N, h, w, 3] float32, each example with a partner of the batch.

    Adds "label_mixed", the partners' "label", and "mix_weight", [N] float32: the share of the example's own label.
    Where `config` asks for neither, the batch comes back as it is. `seed`: [2], as from `example_seed`.
    """
    if not config.mixes:
        return batch
    # Below zero, where no number of an example is, so that no example shares its draws with a batch.
    seed = tf.stack([tf.cast(seed[0], tf.int64), -8 * (1 + tf.cast(seed[1], tf.int64))])
    image = batch["image"]
    partner = tf.argsort(tf.random.stateless_uniform(tf.shape(image)[:1], _with(seed, 0), alg="philox"))
    other = tf.gather(image, partner)
    kinds: list[Callable[[], tuple[tf.Tensor, tf.Tensor]]] = []
    if config.mixup:
        kinds.append(lambda: _mixup(image, other, seed, config.mixup))
    if config.cutmix:
        kinds.append(lambda: _cutmix(image, other, seed, config.cutmix))
    coin = tf.random.stateless_uniform([], _with(seed, 1), alg="philox")
    mixed, weight = tf.cond(coin < 0.5, *kinds) if len(kinds) == 2 else kinds[0]()
    return {**batch, "image": mixed, "label_mixed": tf.gather(batch["label"], partner), "mix_weight": weight}


def _with(seed: tf.Tensor, number: int) -> tf.Tensor:
    return seed + tf.constant([0, number], tf.int64)


def _beta(count: tf.Tensor, seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """[count] draws from Beta(alpha, alpha), by two gamma draws each."""
    draw = tf.random.stateless_gamma([2, count], _with(seed, 2), tf.constant(alpha, tf.float32))
    return tf.math.divide_no_nan(draw[0], draw[0] + draw[1])


def _mixup(image: tf.Tensor, other: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    weight = _beta(tf.shape(image)[0], seed, alpha)
    share = weight[:, None, None, None]
    return share * image + (1 - share) * other, weight


def _cutmix(image: tf.Tensor, other: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """A box of the partner's image in the example's; the weight is the area that is left, to the pixel."""
    count, height, width, _ = tf.unstack(tf.shape(image))
    side = tf.sqrt(1 - _beta(count, seed, alpha))
    middle = tf.random.stateless_uniform([2, count], _with(seed, 3), alg="philox")

    def inside(size: tf.Tensor, middle: tf.Tensor) -> tf.Tensor:
        size = tf.cast(size, tf.float32)
        low, high = tf.round((middle - side / 2) * size), tf.round((middle + side / 2) * size)
        pixel = tf.range(size)[None]
        return (pixel >= low[:, None]) & (pixel < high[:, None])  # what lies outside the image is cut off here

    rows, columns = inside(height, middle[0]), inside(width, middle[1])
    box = rows[:, :, None, None] & columns[:, None, :, None]
    return tf.where(box, other, image), 1 - tf.reduce_mean(tf.cast(box, tf.float32), [1, 2, 3])
