"""Common corruptions of images and texts, each at three strengths.

Those of images are of Hendrycks and Dietterich (2019, arXiv:1903.12261), at their severities 1, 3 and 5. What is random is
drawn from a generator that the caller makes for each example, so that no example depends on another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.lazy import tf

NATURAL = 224
"""Pixels a side of the images for which the paper's widths of a blur are given."""


@dataclass(frozen=True)
class Corruption:
    """One way in which an example gets worse."""

    change: Callable[[Any, float, np.random.Generator], Any]
    """(image [H, W, 3] uint8, or text; setting; random numbers) to the same, changed."""
    settings: tuple[float, float, float]
    """Of the three strengths, the weakest first."""
    unit: str
    """What a setting is."""


def noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of `deviation`, as a share of the range."""
    return _pixels(image + 255 * deviation * random.standard_normal(image.shape))


def blur(image: np.ndarray, width: float, random: np.random.Generator) -> np.ndarray:
    """A Gaussian blur; `width`: its standard deviation in pixels of an image of 224."""
    from scipy import ndimage

    sigma = width * min(image.shape[:2]) / NATURAL
    return _pixels(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="nearest"))


def brightness(image: np.ndarray, more: float, random: np.random.Generator) -> np.ndarray:
    """`more`, as a share of the range, is added to the value of each pixel in the space of hue, saturation and value."""
    pixels = image.astype(np.float64)
    value = pixels.max(axis=-1, keepdims=True)
    lifted = np.minimum(value + 255 * more, 255)
    return _pixels(np.where(value > 0, pixels * lifted / np.maximum(value, 1), lifted))


def jpeg(image: np.ndarray, quality: float, random: np.random.Generator) -> np.ndarray:
    """Compressed as a JPEG of `quality` and read again."""
    found: np.ndarray = tf.io.decode_jpeg(tf.io.encode_jpeg(image, quality=int(quality))).numpy()
    return found


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def typos(text: str, share: float, random: np.random.Generator) -> str:
    """A typing error in that `share` of the words of four letters and more: two letters swapped, one lost, or one doubled."""
    words = text.split(" ")
    return " ".join(_mistyped(word, random) if len(word) >= 4 and random.random() < share else word for word in words)


def _mistyped(word: str, random: np.random.Generator) -> str:
    place = int(random.integers(1, len(word) - 1))  # readers, and tokenisers, go by the first letter
    kind = int(random.integers(3))
    if kind == 0:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    return word[:place] + word[place + 1 :] if kind == 1 else word[:place] + word[place] + word[place:]


def capitals(text: str, share: float, random: np.random.Generator) -> str:
    """That `share` of the words in capitals."""
    return " ".join(word.upper() if random.random() < share else word for word in text.split(" "))


IMAGE: Mapping[str, Corruption] = {
    "noise": Corruption(noise, (0.08, 0.18, 0.38), "standard deviation, share of the range"),
    "blur": Corruption(blur, (1, 3, 6), "standard deviation, pixels at 224"),
    "brightness": Corruption(brightness, (0.1, 0.3, 0.5), "added to the value, share of the range"),
    "JPEG": Corruption(jpeg, (25, 15, 7), "quality"),
}
TEXT: Mapping[str, Corruption] = {
    "typos": Corruption(typos, (0.1, 0.25, 0.5), "share of words"),
    "capitals": Corruption(capitals, (0.25, 0.5, 1.0), "share of words"),
}
