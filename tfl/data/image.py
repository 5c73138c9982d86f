"""Images: decoding to RGB, in full or at the scale that is needed, resizing, and turning them upright.

All is made of TensorFlow ops alone and gives the same eagerly, inside `Dataset.map` and in a SavedModel: what was evaluated
is what is served.
"""

from __future__ import annotations

import functools
from typing import Any

from tfl.config import UserError
from tfl.data import orientation
from tfl.data.config import Resize
from tfl.lazy import tf

JPEG = b"\xff\xd8\xff"
"""How a JPEG file begins."""

RATIOS = (1, 2, 4, 8)
"""By how much a JPEG can be decoded smaller."""
SPARE = 2.0
"""Pixels a side that a JPEG decoded at reduced scale still has for each that the resized image needs.

With two, photos of 800 to 4000 px at 224 px are within 1 level of the full decode in the mean and 5 at the 99.9th percentile
(measured: 0.9 and 3.5; 7 for detail down to the pixel), and MobileNetV2's features within 4 % in the mean, which is what the
rounding of the full decode moves them by: 0.9, 2.8 and 3 % (benchmarks/reduced_decode.py). With 1.5 the percentile is 5 to 9,
for a tenth of the time."""


def decode(data: tf.Tensor) -> tf.Tensor:
    """The image encoded in `data`, a scalar string: [H, W, 3] uint8.

    JPEG, PNG, GIF (its first frame), BMP, and WebP that does not move. Grey becomes RGB, CMYK is converted,
    16 bits become 8, a palette is applied, an alpha channel is dropped; it is not turned (`decode_resized` does that).
    Raises `tf.errors.InvalidArgumentError`.
    """
    is_bmp, is_webp = (tf.equal(tf.strings.substr(data, 0, len(magic)), magic) for magic in (b"BM", b"RIFF"))
    image = tf.case([(is_bmp, lambda: _decode_bmp(data)), (is_webp, lambda: _decode_webp(data))], lambda: _decode(data))
    return tf.ensure_shape(image, [None, None, 3])


def _decode(data: tf.Tensor, channels: int = 3) -> tf.Tensor:
    return tf.io.decode_image(data, channels, expand_animations=False)


def _decode_webp(data: tf.Tensor) -> tf.Tensor:
    """A WebP; TensorFlow drops no alpha channel of it, and ends the process where one that moves is to have four channels."""
    chunk = tf.strings.substr(data, 12, 4)
    start = tf.cast(tf.io.decode_raw(tf.strings.substr(tf.strings.join([data, bytes(25)]), 0, 25), tf.uint8), tf.int32)
    extended = tf.equal(chunk, b"VP8X") & tf.equal(start[20] & 0x12, 0x10)  # has alpha, does not move
    lossless = tf.equal(chunk, b"VP8L") & tf.equal(start[24] & 0x10, 0x10)
    return tf.cond(extended | lossless, lambda: _decode(data, 4)[..., :3], lambda: _decode(data))


def _decode_bmp(data: tf.Tensor) -> tf.Tensor:
    """A BMP; TensorFlow takes the palette numbers of one with 8 bits a pixel for grey values, so they are looked up."""
    image = _decode(data)
    header = tf.io.decode_raw(tf.strings.substr(data, 0, 54), tf.uint8)

    def look_up() -> tf.Tensor:
        start = 14 + tf.cast(header[14], tf.int32)  # the file header, then an info header that begins with its own length
        entries = tf.io.decode_raw(tf.strings.substr(data, start, 4 * 256), tf.uint8)
        entries = tf.reshape(entries[: tf.size(entries) // 4 * 4], [-1, 4])
        return tf.gather(entries[:, 2::-1], tf.cast(image[..., 0], tf.int32))  # stored as B, G, R, 0

    return tf.cond(tf.equal(header[28], 8), look_up, lambda: image)


def decode_resized(data: tf.Tensor, size: tuple[int, int], mode: Resize = "crop", reduced: bool = False) -> tf.Tensor:
    """The image encoded in `data`, a scalar string, upright and resized to `size`: [*size, 3] float32 in 0..255.

    It is turned as EXIF says that the camera was held, in a JPEG. `reduced`: decoded by `decode_reduced`.
    """
    noted = orientation.of(data)

    def resized(size: tuple[int, int]) -> tf.Tensor:
        image, source = decode_reduced(data, size, mode) if reduced else (decode(data), None)
        return orientation.turned(resize(image, size, mode, source), noted)

    if size[0] == size[1]:
        return tf.ensure_shape(resized(size), [*size, 3])
    on_its_side = noted >= orientation.ON_ITS_SIDE
    return tf.ensure_shape(tf.cond(on_its_side, lambda: resized(size[::-1]), lambda: resized(size)), [*size, 3])


def decode_reduced(data: tf.Tensor, size: tuple[int, int], mode: Resize = "crop") -> tuple[tf.Tensor, tf.Tensor]:
    """`decode` for an image that is then resized to `size`: a large JPEG is decoded at 1/2, 1/4 or 1/8 of its scale.

    Returns the image, [h, w, 3] uint8, and the height and width of the picture in pixels of that image, [2] float32,
    which `resize` takes as `source`: 1001 pixels by 4 are 250.25, of which 251 are stored.
    """

    def smaller() -> tuple[tf.Tensor, tf.Tensor]:
        shape = tf.io.extract_jpeg_shape(data)[:2]
        step = ratio_step(shape, size, mode)
        scales = [functools.partial(tf.io.decode_jpeg, data, channels=3, ratio=ratio) for ratio in RATIOS[1:]]
        image = tf.switch_case(step, [lambda: _decode(data), *scales])  # the ratio is fixed in the op
        return image, tf.cast(shape, tf.float32) / tf.gather(tf.constant(RATIOS, tf.float32), step)

    def whole() -> tuple[tf.Tensor, tf.Tensor]:
        image = decode(data)
        return image, tf.cast(tf.shape(image)[:2], tf.float32)

    image, source = tf.cond(tf.equal(tf.strings.substr(data, 0, 3), JPEG), smaller, whole)
    return tf.ensure_shape(image, [None, None, 3]), tf.ensure_shape(source, [2])


def ratio_step(shape: tf.Tensor, size: tuple[int, int], mode: Resize) -> tf.Tensor:
    """Which of `RATIOS` is the largest that leaves images of `shape`, [..., 2] int, `SPARE` pixels for each needed."""
    spare = tf.cast(shape, tf.float32) / (SPARE * tf.constant(size, tf.float32))
    # An image that covers the target or is squashed to it needs enough in both directions, one that fits into it in one.
    spare = tf.reduce_max(spare, -1) if mode == "pad" else tf.reduce_min(spare, -1)
    return tf.reduce_sum(tf.cast(spare[..., None] >= tf.constant(RATIOS[1:], tf.float32), tf.int32), -1)


def load_resized(
    example: dict[str, Any], size: tuple[int, int], mode: Resize = "crop", reduced: bool = False
) -> dict[str, Any]:
    """`example` with its image as "image", [*size, 3] float32 in 0..255; other entries stay.

    Reads the file that "path" (scalar string) names, which is taken out, or takes "image": a scalar string (an encoded
    image), as `decode_resized`, or a uint8 array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], which is turned to RGB.
    """
    rest = {key: value for key, value in example.items() if key not in ("path", "image")}
    image = tf.io.read_file(example["path"]) if "path" in example else tf.convert_to_tensor(example["image"])
    if image.dtype == tf.string:
        return {**rest, "image": decode_resized(image, size, mode, reduced)}
    return {**rest, "image": resize(_rgb(image), size, mode)}


def _rgb(image: tf.Tensor) -> tf.Tensor:
    if image.dtype != tf.uint8:
        raise UserError(f"image: an array of {image.dtype.name}; valid are uint8 arrays, 0 to 255, and encoded images")
    if image.shape.rank == 2:
        image = image[..., None]
    channels = image.shape[-1] if image.shape.rank == 3 else 0
    if channels == 3:
        return image
    if channels == 1:
        return tf.repeat(image, 3, axis=-1)
    if channels == 4:
        return image[..., :3]
    if channels is None:  # known only when it runs
        return tf.gather(image, tf.where(tf.shape(image)[-1] >= 3, [0, 1, 2], [0, 0, 0]), axis=-1)
    raise UserError(f"image: an array of shape {image.shape}; valid are [H, W], [H, W, 1], [H, W, 3] and [H, W, 4]")


def resize(image: tf.Tensor, size: tuple[int, int], mode: Resize = "crop", source: tf.Tensor | None = None) -> tf.Tensor:
    """`image`, [H, W, 3] of any real dtype in 0..255, resized to `size` (height, width): float32 in 0..255.

    Bilinear, with antialiasing where it shrinks. `squash` changes the aspect ratio; `crop` scales the image until it
    covers the target and cuts the middle out; `pad` scales it until it fits and fills the rest with black.

    `source`, [2] float32: the height and width of the picture where they are not those of `image`, which begins where
    the picture does and ends less than a pixel behind it (`decode_reduced`).
    """
    if mode not in ("squash", "crop", "pad"):
        raise UserError(f"resize: {mode!r} is not valid; one of squash, crop, pad")
    image = tf.convert_to_tensor(image)
    target = tf.constant(size, tf.float32)
    whole = source is None
    source = tf.cast(tf.shape(image)[:2], tf.float32) if source is None else source
    scale = target / source
    if mode != "squash":
        scale = tf.repeat(tf.reduce_max(scale) if mode == "crop" else tf.reduce_min(scale), 2)
    translation = (target - source * scale) / 2
    # One op scales and shifts, and computes no pixel that is cut off.
    result = tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=size,
        scale=scale,
        translation=translation,
        kernel_type="triangle",
        antialias=True,
    )[0]
    if mode == "pad" and not whole:  # the op fills what lies behind `image`, not behind the picture
        end = translation + source * scale
        rows, columns = (tf.range(0.5, size[at]) <= end[at] for at in (0, 1))
        result = tf.where((rows[:, None] & columns)[..., None], result, 0.0)
    return tf.ensure_shape(tf.clip_by_value(result, 0.0, 255.0), [*size, 3])
