"""The orientation that a camera notes in a JPEG file (EXIF, tag 0x0112), and pictures turned by it.

Made of TensorFlow ops alone, as all of decoding is. A picture is turned after it was resized, when it is small.
"""

from __future__ import annotations

from tfl.lazy import tf

SEGMENT = 1 << 16
"""Bytes that a segment of a JPEG file has at most."""
FRONT = 1 << 16
"""Bytes of a file within which EXIF has to begin. As a rule it is the first segment, or follows the few bytes of JFIF."""
HEAD = FRONT + SEGMENT
"""Bytes of a file that are looked at."""
NAME = 6
"""Bytes of the name of EXIF: four letters and two zeros."""
EXIF = r"Exif\x00\x00\C*"
"""The name and all that follows, for RE2, to which `\\C` is any byte."""
TAG = 0x0112
LONG = 4
"""The type of a value of four bytes; a value of the type that the standard names for this tag has two."""
LOWEST_FIRST = (1, 1 << 8, 1 << 16, 1 << 24)
"""What each byte of a number counts, in the order of one of the two kinds of TIFF."""
ON_ITS_SIDE = 5
"""From this orientation on, width and height are those of the stored image the other way round."""
AXES = [[0, 1, 2]] * ON_ITS_SIDE + [[1, 0, 2]] * 4
"""For each orientation from 0 on: which axes of the stored image become rows, columns and channels."""
STEPS = [
    [1, 1, 1],
    [1, 1, 1],  # 1: upright
    [1, -1, 1],  # 2: mirrored
    [-1, -1, 1],  # 3: on its head
    [-1, 1, 1],  # 4: both
    [1, 1, 1],  # 5 to 8: the same with rows and columns exchanged before
    [1, -1, 1],
    [-1, -1, 1],
    [-1, 1, 1],
]
"""For each orientation from 0 on: which of these are taken backwards then."""


def of(data: tf.Tensor) -> tf.Tensor:
    """The orientation that stands in an encoded image, a scalar string: scalar int64, 1 to 8; 1, upright, where none does."""
    front = tf.strings.substr(data, 0, FRONT)
    # What stands in front of EXIF is left: its length is the place where EXIF begins, or all, where there is none.
    place = tf.strings.length(tf.strings.regex_replace(front, EXIF, "", replace_global=False))
    is_noted = (place < tf.strings.length(front)) & tf.equal(tf.strings.substr(front, 0, 2), b"\xff\xd8")

    def noted() -> tf.Tensor:
        return _in_tiff(tf.io.decode_raw(tf.strings.substr(data, place + NAME, SEGMENT), tf.uint8))

    return tf.cond(is_noted, noted, lambda: tf.constant(1, tf.int64))


def turned(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """`image`, [H, W, C], as the camera saw it: [H, W, C], or [W, H, C] from orientation 5 on."""

    def turn() -> tf.Tensor:
        exchanged = tf.transpose(image, tf.gather(AXES, orientation))
        return tf.strided_slice(exchanged, [0, 0, 0], [0, 0, 0], tf.gather(STEPS, orientation), begin_mask=7, end_mask=7)

    return tf.cond(orientation > 1, turn, lambda: image)


def _in_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in what a TIFF file begins with, [n] uint8; 1 where there is none or it is none of the eight."""
    data, end = tf.cast(tf.pad(tiff, [[0, 1]]), tf.int64), tf.size(tiff, tf.int64)
    # What each byte of a number of four and of two bytes counts.
    big = tf.equal(data[0], ord("M"))
    four = tf.where(big, *(tf.constant(LOWEST_FIRST[::step], tf.int64) for step in (-1, 1)))
    two = tf.where(big, four[2:], four[:2])

    def at(places: tf.Tensor) -> tf.Tensor:
        return tf.gather(data, tf.minimum(places, end))  # 0 behind the end

    first = tf.reduce_sum(at(tf.range(4, 8, dtype=tf.int64)) * four)
    count = tf.minimum(tf.reduce_sum(at(first + tf.range(2, dtype=tf.int64)) * two), SEGMENT // 12)
    # Of 12 bytes each: the tag, the type, the number of values, the value. One more, so that there is one.
    entries = at(first + 2 + 12 * tf.range(count + 1)[:, None] + tf.range(12, dtype=tf.int64))
    is_it = tf.equal(tf.reduce_sum(entries[:, :2] * two, -1), TAG) & (tf.range(count + 1) < count)
    entry = tf.reduce_max(tf.where(is_it[:, None], entries, 0), 0)  # that of the tag, or zeros
    is_long = tf.equal(tf.reduce_sum(entry[2:4] * two), LONG)
    value = tf.where(is_long, tf.reduce_sum(entry[8:12] * four), tf.reduce_sum(entry[8:10] * two))
    return tf.where((value >= 1) & (value <= 8), value, 1)
