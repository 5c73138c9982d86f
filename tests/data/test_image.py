"""Images: every format that is promised, the same in every mode of running, and what can't be read is named."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.data.encoded import BLACK_AND_WHITE, COLORS, ENCODED, GREYS, squares
from tfl.config import UserError
from tfl.data import image, scan

EXPECTED = dict.fromkeys(ENCODED, COLORS) | {
    "jpeg_grey": GREYS,
    "png_grey_alpha": GREYS,
    "png_16bit": GREYS,
    "png_1bit": BLACK_AND_WHITE,
}


@pytest.mark.parametrize("name", ENCODED)
def test_decode_gives_rgb_of_every_format(name: str) -> None:
    result = image.decode(tf.constant(ENCODED[name]))
    assert result.dtype == tf.uint8
    assert result.shape == (8, 32, 3)
    tolerance = 12 if name.startswith("jpeg") else 0
    np.testing.assert_allclose(result.numpy().astype(int), squares(EXPECTED[name]).astype(int), atol=tolerance)


def test_decode_reads_true_colour_bmp() -> None:
    pixels = squares(COLORS)
    rows = b"".join(row[:, ::-1].tobytes() for row in pixels[::-1])
    header = b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54)
    header += struct.pack("<IiiHHIIiiII", 40, 32, 8, 1, 24, 0, len(rows), 0, 0, 0, 0)
    np.testing.assert_array_equal(image.decode(tf.constant(header + rows)), pixels)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("has_alpha", [True, False])
def test_decode_reads_webp(has_alpha: bool, lossless: bool) -> None:
    shown = squares(COLORS)
    pixels = np.concatenate([shown, shown[..., :1]], axis=-1) if has_alpha else shown
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=lossless, exact=True)
    expected = np.asarray(Image.open(file).convert("RGB"))
    np.testing.assert_array_equal(image.decode(tf.constant(file.getvalue())), expected)
    assert not lossless or (expected == shown).all()


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_webp_that_moves_is_refused_and_the_process_lives(mode: str) -> None:
    file, first = io.BytesIO(), Image.fromarray(squares(COLORS)).convert(mode)
    first.save(file, "WEBP", save_all=True, append_images=[first.rotate(180)])
    assert scan.unreadable([file.getvalue()]) == [(0, "a WebP that moves, which is not read; convert it to GIF")]
    with pytest.raises(tf.errors.InvalidArgumentError):
        image.decode(tf.constant(file.getvalue()))


def test_decode_is_the_same_in_map_as_eagerly() -> None:
    names = list(ENCODED)
    data = tf.data.Dataset.from_tensor_slices([ENCODED[name] for name in names]).map(image.decode, num_parallel_calls=4)
    assert data.element_spec.shape.as_list() == [None, None, 3]
    for name, result in zip(names, data, strict=True):
        np.testing.assert_array_equal(result, image.decode(tf.constant(ENCODED[name])))


def test_saved_graph_predicts_the_same_with_tensorflow_alone(tmp_path: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(data: tf.Tensor) -> tf.Tensor:
        one = lambda item: image.resize(image.decode(item), (7, 9), "crop")  # noqa: E731
        return tf.map_fn(one, data, fn_output_signature=tf.TensorSpec([7, 9, 3], tf.float32))

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "model"))
    data = [ENCODED["jpeg"], ENCODED["png_palette"], ENCODED["bmp_palette"]]
    np.save(tmp_path / "data.npy", np.array(data, object), allow_pickle=True)
    program = (
        "import sys, numpy as np, tensorflow as tf\n"
        "model = tf.saved_model.load('model')\n"
        "np.save('out.npy', model.serve(tf.constant(list(np.load('data.npy', allow_pickle=True)))))\n"
        "assert not any(name.split('.')[0] == 'tfl' for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
    expected = [image.resize(image.decode(tf.constant(item)), (7, 9), "crop") for item in data]
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), np.stack(expected))


# --- load_resized -----------------------------------------------------------------------------------------------------


def test_loading_reads_a_path_and_keeps_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(ENCODED["png"])
    result = image.load_resized({"path": str(file), "index": 3}, (8, 32))
    assert set(result) == {"image", "index"}
    np.testing.assert_array_equal(result["image"], squares(COLORS))


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 3), (8, 6, 4)])
@pytest.mark.parametrize("known", [True, False])
def test_loading_turns_arrays_to_rgb(shape: tuple[int, ...], known: bool) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    channels = array.reshape(8, 6, -1)
    expected = channels[..., :3] if channels.shape[-1] >= 3 else np.repeat(channels, 3, axis=-1)
    spec = tf.TensorSpec(shape if known else [None] * len(shape), tf.uint8)
    data = tf.data.Dataset.from_generator(lambda: iter([array]), output_signature=spec)
    (result,) = data.map(lambda item: image.load_resized({"image": item}, (8, 6))["image"])
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(image.load_resized({"image": array}, (8, 6))["image"], expected)


def test_loading_takes_encoded_images() -> None:
    result = image.load_resized({"image": ENCODED["png_alpha"]}, (8, 32))
    np.testing.assert_array_equal(result["image"], squares(COLORS))


@pytest.mark.parametrize(
    ("array", "word"), [(np.zeros((4, 4, 3), np.float32), "float32"), (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)")]
)
def test_loading_names_what_it_does_not_take(array: np.ndarray, word: str) -> None:
    with pytest.raises(UserError, match=word):
        image.load_resized({"image": array}, (4, 4))


# --- resize -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (40, 64, 3), np.uint8)


def test_squash_is_antialiased_bilinear(picture: np.ndarray) -> None:
    expected = tf.image.resize(picture, (15, 13), antialias=True)
    np.testing.assert_allclose(image.resize(picture, (15, 13), "squash"), expected, atol=1e-3)
    halves = picture.astype(float)  # by half, a triangle of width two: weights 1, 3, 3, 1
    weights = np.array([1, 3, 3, 1]) / 8
    by_hand = np.einsum("i,j,ijc->c", weights, weights, halves[9:13, 19:23])
    np.testing.assert_allclose(image.resize(picture, (20, 32), "squash")[5, 10], by_hand, atol=1e-3)


def test_crop_takes_the_middle(picture: np.ndarray) -> None:
    expected = tf.image.resize(picture[:, 12:52], (20, 20), antialias=True).numpy()
    result = image.resize(picture, (20, 20), "crop").numpy()
    np.testing.assert_allclose(result[:, 1:-1], expected[:, 1:-1], atol=1e-3)  # at the border it sees what lies beyond


def test_pad_keeps_all_and_fills_with_black(picture: np.ndarray) -> None:
    result = image.resize(picture, (32, 32), "pad").numpy()
    np.testing.assert_allclose(result[6:26], tf.image.resize(picture, (20, 32), antialias=True), atol=1e-3)
    assert not result[:6].any()
    assert not result[26:].any()


@pytest.mark.parametrize("mode", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(40, 64, 3), (1, 500, 3), (16, 16, 3), (3, 2, 3)])
def test_resize_is_the_same_in_map_and_has_a_static_shape(mode: image.Resize, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    spec = tf.TensorSpec([None, None, 3], tf.uint8)
    data = tf.data.Dataset.from_generator(lambda: iter([array]), output_signature=spec)
    data = data.map(lambda item: image.resize(item, (16, 16), mode))
    assert data.element_spec == tf.TensorSpec([16, 16, 3], tf.float32)
    (result,) = data
    np.testing.assert_array_equal(result, image.resize(array, (16, 16), mode))
    assert result.numpy().min() >= 0
    assert result.numpy().max() <= 255
    if shape == (16, 16, 3):
        np.testing.assert_array_equal(result, array)


def test_resize_names_the_modes(picture: np.ndarray) -> None:
    with pytest.raises(UserError, match="squash, crop, pad"):
        image.resize(picture, (8, 8), "stretch")  # type: ignore[arg-type]


# --- unreadable -------------------------------------------------------------------------------------------------------


def huge(name: str) -> bytes:
    """A small file whose header claims 50,000 × 50,000 pixels."""
    data = bytearray(ENCODED[name])
    if name == "jpeg":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 50_000, 50_000)
    elif name == "png":
        data[16:24] = struct.pack(">II", 50_000, 50_000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif name == "gif":
        data[6:10] = struct.pack("<HH", 50_000, 50_000)
    else:
        data[18:26] = struct.pack("<ii", 50_000, -50_000)
    return bytes(data)


def test_unreadable_says_which_and_why(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(ENCODED["jpeg"])
    (tmp_path / "half.jpg").write_bytes(ENCODED["jpeg"][: len(ENCODED["jpeg"]) // 2])
    (tmp_path / "text.jpg").write_bytes(b"hello world")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    names = ["good.jpg", "half.jpg", "text.jpg", "good.jpg", "empty.jpg", "folder.jpg", "missing.jpg"]
    assert scan.unreadable([str(tmp_path / name) for name in names], threads=3) == [
        (1, "truncated JPEG"),
        (2, "not an image: starts with b'hello wo'"),
        (4, "empty file"),
        (5, "a folder, not a file"),
        (6, "no such file"),
    ]


@pytest.mark.parametrize("name", ENCODED)
def test_half_a_file_is_unreadable_and_a_whole_one_is_not(name: str) -> None:
    data = ENCODED[name]
    assert scan.unreadable([data, data[: len(data) // 2]]) == [(1, f"truncated {scan.kind(data)}")]


@pytest.mark.parametrize("name", ["jpeg", "png", "gif", "bmp_palette"])
def test_absurd_sizes_are_reported_from_the_header(name: str) -> None:
    ((index, reason),) = scan.unreadable([huge(name)])
    assert index == 0
    assert "claims 50,000 × 50,000 pixels" in reason


def test_damage_inside_and_foreign_formats_are_named() -> None:
    damaged = bytearray(ENCODED["png"])
    damaged[45] ^= 255
    tiff, heic = b"II*\0" + bytes(20), b"\0\0\0\x18ftypheic" + bytes(20)
    reasons = [reason for _, reason in scan.unreadable([bytes(damaged), tiff, heic, b"\xff\xd8\xff"])]
    assert [reason[:12] for reason in reasons] == ["corrupt PNG:", "a TIFF image", "a HEIC or AV", "truncated JP"]
    assert all(len(reason) < 120 and "node" not in reason for reason in reasons)


def test_unreadable_keeps_the_order_over_many_chunks() -> None:
    items = [ENCODED["gif"] if place % 50 else b"x" for place in range(501)]
    assert [place for place, _ in scan.unreadable(items, threads=4)] == list(range(0, 501, 50))
