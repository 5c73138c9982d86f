"""RandAugment with stateless ops (Cubuk et al. 2020, arXiv:1909.13719): fourteen operations on an image in 0..255."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tfl.lazy import tf

FILL = 128.0
"""The grey that RandAugment's geometric operations bring in, as in the authors' code."""

GREY = (0.299, 0.587, 0.114)
"""How much red, green and blue weigh in a grey: luma of ITU-R BT.601, as in JPEG."""


def apply(image: tf.Tensor, draw: tf.Tensor, strength: float) -> tf.Tensor:
    """One operation of RandAugment, drawn uniformly, at `strength` (0..1) with a random sign."""
    sign = tf.where(draw[1] < 0.5, -1.0, 1.0)
    operations = _operations(image, sign * strength, strength)
    which = tf.cast(draw[0] * len(operations), tf.int32)
    return tf.clip_by_value(tf.switch_case(which, list(operations.values())), 0.0, 255.0)


def _operations(image: tf.Tensor, signed: tf.Tensor, strength: float) -> dict[str, Callable[[], tf.Tensor]]:
    """RandAugment's operations by name, with the ranges of the paper's code; a factor of 1 leaves an image as it is."""
    factor = 1 + 0.9 * signed
    middle = tuple(tf.unstack(tf.cast(tf.shape(image)[:2] - 1, tf.float32) / 2))[::-1]
    shift = signed * 150 / 331 * 2

    def turn() -> tf.Tensor:
        angle = signed * math.radians(30)
        return affine(image, ((tf.cos(angle), -tf.sin(angle)), (tf.sin(angle), tf.cos(angle))), middle)

    return {
        "identity": lambda: image,
        "autocontrast": lambda: _autocontrast(image),
        "equalize": lambda: _equalize(image),
        "rotate": turn,
        "solarize": lambda: tf.where(image < 256 * (1 - strength), image, 255 - image),
        "color": lambda: _blend(_grey(image), image, factor),
        "posterize": lambda: _posterize(image, 8 - round(4 * strength)),
        "contrast": lambda: _blend(tf.reduce_mean(_grey(image)), image, factor),
        "brightness": lambda: image * factor,
        "sharpness": lambda: _blend(_smooth(image), image, factor),
        "shear_x": lambda: affine(image, ((1, 0.3 * signed), (0, 1)), middle),
        "shear_y": lambda: affine(image, ((1, 0), (0.3 * signed, 1)), middle),
        "translate_x": lambda: affine(image, ((1, 0), (0, 1)), (middle[0] * (1 + shift), middle[1])),
        "translate_y": lambda: affine(image, ((1, 0), (0, 1)), (middle[0], middle[1] * (1 + shift))),
    }


def _blend(one: tf.Tensor, other: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return one + factor * (other - one)


def _grey(image: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(image * tf.constant(GREY), axis=-1, keepdims=True)


def _autocontrast(image: tf.Tensor) -> tf.Tensor:
    """Each channel stretched to 0..255; one of a single value stays."""
    low, high = tf.reduce_min(image, [0, 1]), tf.reduce_max(image, [0, 1])
    return tf.where(high > low, tf.math.divide_no_nan(255.0, high - low) * (image - low), image)


def _posterize(image: tf.Tensor, bits: int) -> tf.Tensor:
    step = 2.0 ** (8 - bits)
    return tf.floor(image / step) * step


def _equalize(image: tf.Tensor) -> tf.Tensor:
    """Each channel's histogram flattened as Pillow's `ImageOps.equalize` does, on values rounded to whole numbers."""
    values = tf.cast(tf.round(image), tf.int32)

    def channel(value: tf.Tensor) -> tf.Tensor:
        counts = tf.math.bincount(tf.reshape(value, [-1]), minlength=256, maxlength=256)
        last = tf.gather(counts, tf.reduce_max(value))
        step = (tf.size(value) - last) // 255
        below = tf.cumsum(counts, exclusive=True)
        table = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
        return tf.gather(tf.where(step > 0, table, tf.range(256)), value)

    return tf.cast(tf.stack([channel(values[..., c]) for c in range(3)], axis=-1), tf.float32)


def _smooth(image: tf.Tensor) -> tf.Tensor:
    """Pillow's SMOOTH filter, a 3 × 3 mean with weight 5 in the middle; the border stays."""
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13
    kernel = tf.tile(kernel[:, :, None, None], [1, 1, 3, 1])
    inner = tf.nn.depthwise_conv2d(image[None], kernel, [1, 1, 1, 1], "VALID")[0]
    inside = tf.pad(tf.ones_like(inner, tf.bool), [[1, 1], [1, 1], [0, 0]])
    return tf.where(inside, tf.pad(inner, [[1, 1], [1, 1], [0, 0]]), image)


def affine(image: tf.Tensor, matrix: Any, center: tuple[Any, Any], fill: str = "CONSTANT") -> tf.Tensor:
    """`image` whose pixel at offset (x, y) from its middle is the input's at `center` + `matrix` · (x, y)."""
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2] - 1, tf.float32))
    (a, b), (c, d) = matrix
    x, y = center
    shift_x = x - a * width / 2 - b * height / 2
    shift_y = y - c * width / 2 - d * height / 2
    transform = tf.stack([tf.cast(value, tf.float32) for value in (a, b, shift_x, c, d, shift_y, 0.0, 0.0)])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=transform[None],
        output_shape=tf.shape(image)[:2],
        fill_value=FILL,
        interpolation="BILINEAR",
        fill_mode=fill,
    )[0]
