"""The orientation that a camera notes in a JPEG file (EXIF, tag 0x0112), and pictures turned by it.

Made of TensorFlow ops alone, as all of decoding is. A picture is turned after it was resized, when it is small.
"""

from __future__ import annotations

from tfl.lazy import tf

FRONT = 1 << 12
"""Bytes of a file within which EXIF begins: it is the first segment, or follows what JFIF has to say."""
HEAD = FRONT + (1 << 16)
"""Bytes of a file that are looked at; a segment has 64 KiB at most."""
EXIF = r"Exif\x00\x00\C*"
"""The name of EXIF and all that follows, for RE2, to which `\\C` is any byte."""
TAG = 0x0112
LONG = 4
"""The type of a value of four bytes; a value of the type that the standard names for this tag has two."""
ON_ITS_SIDE = 5
"""From this orientation on, width and height are those of the stored image the other way round."""


def of(data: tf.Tensor) -> tf.Tensor:
    """The orientation that stands in an encoded image, a scalar string: scalar int64, 1 to 8; 1, upright, where none does."""
    front = tf.strings.substr(data, 0, FRONT)
    place = tf.strings.length(tf.strings.regex_replace(front, EXIF, "", replace_global=False))
    is_noted = (place < tf.strings.length(front)) & tf.equal(tf.strings.substr(front, 0, 2), b"\xff\xd8")

    def noted() -> tf.Tensor:
        return _in_tiff(tf.io.decode_raw(tf.strings.substr(data, place + len("Exif??"), HEAD), tf.uint8))

    return tf.cond(is_noted, noted, lambda: tf.constant(1, tf.int64))


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """`image`, [H, W, C], as the camera saw it: [H, W, C], or [W, H, C] from orientation 5 on."""

    def turn() -> tf.Tensor:
        flat = tf.cond(orientation >= ON_ITS_SIDE, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        down = tf.gather([False, False, False, True, True, False, False, True, True], orientation)
        across = tf.gather([False, False, True, True, False, False, True, True, False], orientation)
        return tf.reverse(flat, tf.boolean_mask([0, 1], [down, across]))

    return tf.cond(orientation > 1, turn, lambda: image)


def _in_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in what a TIFF file begins with, [n] uint8; 1 where there is none or it is none of the eight."""
    big = ~tf.reduce_all(tf.equal(tiff[:1], ord("I")))
    first = _number(_at(tiff, tf.range(4, 8, dtype=tf.int64)), big)
    count = tf.minimum(_number(_at(tiff, first + tf.range(2, dtype=tf.int64)), big), HEAD // 12)
    # Of 12 bytes each: the tag, the type, the number of values, the value.
    entries = _at(tiff, first + 2 + 12 * tf.range(count)[:, None] + tf.range(12, dtype=tf.int64))
    entries = tf.boolean_mask(entries, tf.equal(_number(entries[:, :2], big), TAG))
    entry = tf.concat([entries, tf.zeros([1, 12], tf.uint8)], 0)[0]
    is_long = tf.equal(_number(entry[2:4], big), LONG)
    value = tf.where(is_long, _number(entry[8:12], big), _number(entry[8:10], big))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _at(data: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """The bytes at `places`, int64, in `data`; 0 for those behind its end."""
    return tf.gather(tf.pad(data, [[0, 1]]), tf.minimum(places, tf.size(data, tf.int64)))


def _number(data: tf.Tensor, big: tf.Tensor) -> tf.Tensor:
    """The numbers that the last axis of `data`, bytes, holds: int64."""
    powers = [256**power for power in range(data.shape[-1])]
    weights = tf.where(big, tf.constant(powers[::-1], tf.int64), tf.constant(powers, tf.int64))
    return tf.reduce_sum(tf.cast(data, tf.int64) * weights, -1)
