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
LOWEST_FIRST = (1, 1 << 8, 1 << 16, 1 << 24)
"""What each byte of a number counts, in the order of one of the two kinds of TIFF."""
ON_ITS_SIDE = 5
"""From this orientation on, width and height are those of the stored image the other way round."""
AXES = [[0, 1, 2]] * ON_ITS_SIDE + [[1, 0, 2]] * 4
"""Of each orientation, which axes of the stored image become its own."""
STEPS = [[1, 1, 1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1]]
"""Of each orientation, which of these go backwards: 2 is mirrored, 3 stands on its head, 4 is both, 5 to 8 lie."""


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
        lying = tf.transpose(image, tf.gather(AXES, orientation))
        return tf.strided_slice(lying, [0, 0, 0], [0, 0, 0], tf.gather(STEPS, orientation), begin_mask=7, end_mask=7)

    return tf.cond(orientation > 1, turn, lambda: image)


def _in_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """The orientation in what a TIFF file begins with, [n] uint8; 1 where there is none or it is none of the eight."""
    data, end = tf.cast(tf.pad(tiff, [[0, 1]]), tf.int64), tf.size(tiff, tf.int64)
    # What each byte of a number of four and of two bytes counts.
    four = tf.where(tf.equal(data[0], ord("M")), *(tf.constant(LOWEST_FIRST[::step], tf.int64) for step in (-1, 1)))
    two = tf.where(tf.equal(data[0], ord("M")), four[2:], four[:2])

    def at(places: tf.Tensor) -> tf.Tensor:
        return tf.gather(data, tf.minimum(places, end))  # 0 behind the end

    first = tf.reduce_sum(at(tf.range(4, 8, dtype=tf.int64)) * four)
    count = tf.minimum(tf.reduce_sum(at(first + tf.range(2, dtype=tf.int64)) * two), HEAD // 12)
    # Of 12 bytes each: the tag, the type, the number of values, the value.
    entries = at(first + 2 + 12 * tf.range(count)[:, None] + tf.range(12, dtype=tf.int64))
    is_it = tf.equal(tf.reduce_sum(entries[:, :2] * two, -1), TAG)
    entry = tf.reduce_max(tf.where(is_it[:, None], entries, 0), 0)
    is_long = tf.equal(tf.reduce_sum(entry[2:4] * two), LONG)
    value = tf.where(is_long, tf.reduce_sum(entry[8:12] * four), tf.reduce_sum(entry[8:10] * two))
    return tf.where((value >= 1) & (value <= 8), value, 1)
