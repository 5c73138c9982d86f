"""JPEG files are turned upright as their EXIF says, everywhere that images are decoded."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tests.data.cameras import noted, smooth, stored_as
from tests.data.encoded import ENCODED
from tfl.data import image, orientation, scan

NUMBERS = range(1, 9)
MODES = ("crop", "squash", "pad")


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_picture_is_turned_as_pillow_turns_it(number: int, order: str) -> None:
    data = noted(number, smooth(23, 40), order)
    found = orientation.of(tf.constant(data))
    assert found == number
    with Image.open(io.BytesIO(data)) as opened:
        stored, expected = np.asarray(opened), np.asarray(ImageOps.exif_transpose(opened))
    np.testing.assert_array_equal(orientation.turned(tf.constant(stored), found), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(40, 40), (24, 40), (40, 24)])
@pytest.mark.parametrize("shape", [(60, 90), (60, 200), (200, 340), (411, 617)])
def test_however_the_camera_was_held_the_picture_is_the_same(
    shape: tuple[int, int], size: tuple[int, int], mode: image.Resize, tmp_path: Path
) -> None:
    pixels = smooth(*shape)
    upright = image.decode_resized(tf.constant(noted(1, pixels)), size, mode)
    for number in NUMBERS:
        data = noted(number, stored_as(pixels, number))
        (file := tmp_path / f"{number}.jpg").write_bytes(data)
        for item in (data, str(file)):
            assert scan.ratios([item], size, mode) == scan.ratios([noted(1, pixels)], size, mode)
        for reduced in (False, True):
            found = image.decode_resized(tf.constant(data), size, mode, reduced)
            assert found.shape == (*size, 3)
            np.testing.assert_allclose(found, upright, atol=6, err_msg=f"{number}, {reduced}")


def test_the_ratio_of_what_lies_on_its_side_is_that_of_how_it_is_shown() -> None:
    lying = noted(6, smooth(200, 340))
    assert [scan.ratios([lying], size)[0] for size in ((24, 40), (40, 24))] == [2, 4]
    assert [scan.ratios([noted(1, smooth(200, 340))], size)[0] for size in ((24, 40), (40, 24))] == [4, 2]


def test_map_and_a_saved_graph_give_the_same_as_eagerly(tmp_path: Path) -> None:
    size = (24, 40)
    data = [noted(number, smooth(60, 90)) for number in NUMBERS] + list(ENCODED.values())

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(data: tf.Tensor) -> tf.Tensor:
        one = lambda item: image.decode_resized(item, size, reduced=True)  # noqa: E731
        return tf.map_fn(one, data, fn_output_signature=tf.TensorSpec([*size, 3], tf.float32))

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).serve(tf.constant(data))
    mapped = tf.data.Dataset.from_tensor_slices(data).map(lambda item: image.decode_resized(item, size, reduced=True))
    for item, one, other in zip(data, mapped, served, strict=True):
        expected = image.decode_resized(tf.constant(item), size, reduced=True)
        np.testing.assert_array_equal(one, expected)
        np.testing.assert_array_equal(other, expected)


def test_where_nothing_is_noted_a_picture_is_upright() -> None:
    pixels = smooth(20, 30)
    bare = io.BytesIO()
    Image.fromarray(pixels).save(bare, "JPEG")
    in_png = io.BytesIO()
    exif = Image.Exif()
    exif[orientation.TAG] = 6
    Image.fromarray(pixels).save(in_png, "PNG", exif=exif)
    for data in (bare.getvalue(), in_png.getvalue(), in_png.getvalue() + exif.tobytes(), b"", b"\xff\xd8"):
        assert orientation.of(tf.constant(data)) == 1
    assert [int(orientation.of(tf.constant(noted(number, pixels)))) for number in (0, 9, 255, 65_535)] == [1] * 4


def test_what_stands_before_exif_does_not_hide_it() -> None:
    data = noted(6, smooth(20, 30))
    profile = b"\xff\xe2" + (65_000).to_bytes(2, "big") + b"ICC_PROFILE\0" + bytes(64_986)
    comment = b"\xff\xfe" + (302).to_bytes(2, "big") + b"c" * 300
    assert b"JFIF" in data[: data.index(b"Exif")]
    start = data.index(b"\xff\xe1")
    for before in (comment, profile, comment + profile):
        assert orientation.of(tf.constant(data[:start] + before + data[start:])) == 6


def test_what_stands_where_the_entries_would_be_is_not_counted_among_them() -> None:
    data = noted(6, smooth(20, 30))
    start = data.index(b"Exif\0\0") + 14
    assert int.from_bytes(data[start : start + 2], "big") == 4
    for count, expected in ((0, 1), (1, 1), (4, 6), (65_535, 6)):
        assert orientation.of(tf.constant(data[:start] + count.to_bytes(2, "big") + data[start + 2 :])) == expected


def test_a_number_of_four_bytes_is_read_in_either_order() -> None:
    for order, mark in (("little", b"II"), ("big", b"MM")):
        put = lambda value, size: value.to_bytes(size, order)  # noqa: B023, E731
        entry = put(orientation.TAG, 2) + put(orientation.LONG, 2) + put(1, 4) + put(7, 4)
        tiff = mark + put(42, 2) + put(8, 4) + put(1, 2) + entry
        assert orientation.of(tf.constant(b"\xff\xd8\xff\xe1\0\x30Exif\0\0" + tiff)) == 7


def test_whatever_stands_there_it_is_one_of_eight() -> None:
    read = tf.function(orientation.of, input_signature=[tf.TensorSpec([], tf.string)])
    draw = random.Random(0)
    whole = noted(6, smooth(20, 30))
    start = whole.index(b"Exif\0\0")
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(start + 6, start + 80)] = draw.choice([0, 1, 4, 8, 127, 255])
        assert 1 <= int(read(tf.constant(bytes(data[: draw.choice([len(data), start + draw.randrange(80)])])))) <= 8
