"""JPEGs decoded at reduced scale: as close to the full decode as is stated, not shifted, and the same in `map`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.assets import asset
from tests.data.encoded import COLORS, ENCODED, GREYS, squares
from tfl import backbones
from tfl.backbones import ImagePreprocess
from tfl.data import Columns, image, scan
from tfl.data.examples import digest, digests, strings
from tfl.data.pipeline import prepare

SIZE = (40, 56)
MODES = ("crop", "squash", "pad")


def encode(pixels: np.ndarray, **options: bool) -> bytes:
    data: bytes = tf.io.encode_jpeg(np.clip(np.round(pixels), 0, 255).astype(np.uint8), quality=90, **options).numpy()
    return data


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """[height, width, 3] float: colours that rise and fall a few times from edge to edge."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j][..., None]
    waves = [np.sin(random.uniform(-25, 25, 3) * y + random.uniform(-25, 25, 3) * x) for _ in range(4)]
    return 127 + 30 * sum(waves)


def both(data: bytes, size: tuple[int, int], mode: image.Resize) -> tuple[np.ndarray, np.ndarray]:
    """The image resized after a full and after a reduced decode."""
    full = image.resize(image.decode(tf.constant(data)), size, mode)
    reduced = image.load_resized({"image": tf.constant(data)}, size, mode, reduced=True)["image"]
    return full.numpy(), reduced.numpy()


def difference(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Mean and 99.9th percentile of the absolute difference, in levels."""
    levels = np.concatenate([np.abs(full - reduced).ravel() for full, reduced in pairs])
    return float(levels.mean()), float(np.percentile(levels, 99.9))


# --- how close it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ratio", [2, 4, 8])
@pytest.mark.parametrize("odd", [0, 1, 3, 7])
def test_smooth_photo_is_within_the_tolerance(mode: image.Resize, ratio: int, odd: int) -> None:
    height, width = (2 * ratio * side + odd for side in SIZE)
    data = encode(smooth(height, width))
    assert scan.ratios([data], SIZE, mode).tolist() == [ratio]
    decoded, source = image.decode_reduced(tf.constant(data), SIZE, mode)
    assert decoded.shape == (math.ceil(height / ratio), math.ceil(width / ratio), 3)
    np.testing.assert_array_equal(source, [height / ratio, width / ratio])
    mean, most = difference([both(data, SIZE, mode)])
    assert mean < 1.0
    assert most < 5.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", [1203, 2001, 4000])
def test_real_photos_are_within_the_tolerance(mode: image.Resize, side: int) -> None:
    mean, most = difference([both(data, (224, 224), mode) for data in enlarged(side, 6)])
    assert 0 < mean < 1.0
    assert most < 5.0


@pytest.mark.parametrize("side", [64, 96])
def test_real_photos_at_their_own_size_are_within_the_tolerance_of_fine_detail(side: int) -> None:
    photos = sorted(asset("images/hymenoptera/val").rglob("*.jpg"))[:40]
    mean, most = difference([both(path.read_bytes(), (side, side), "crop") for path in photos])
    assert mean < 1.0
    assert most < 9.0


def test_features_of_real_photos_are_within_the_tolerance() -> None:
    weights = asset("weights/mobilenet_v2_1.0_224_imagenet.weights.h5")
    backbone = backbones.load("mobilenet_v2", weights=str(weights))
    pairs = [both(data, (224, 224), "crop") for data in enlarged(1999, 4) + enlarged(4000, 4)]
    full, reduced = (
        np.asarray(backbone.model({"image": backbone.preprocess(np.stack(images))})) for images in zip(*pairs, strict=True)
    )
    distance = np.linalg.norm(full - reduced, axis=-1) / np.linalg.norm(full, axis=-1)
    assert 0 < distance.mean() < 0.04
    assert distance.max() < 0.08


def enlarged(side: int, count: int) -> list[bytes]:
    """Real photos, their longer side enlarged to `side` and the other to what is seldom a multiple of 8."""
    photos = []
    for path in sorted(asset("images/hymenoptera/val").rglob("*.jpg"))[::20][:count]:
        pixels = image.decode(tf.constant(path.read_bytes()))
        scale = side / max(pixels.shape[:2])
        height, width = (round(length * scale) for length in pixels.shape[:2])
        photos.append(encode(tf.image.resize(pixels, (height, width), "bicubic").numpy()))
    return photos


def test_what_is_not_shifted_at_the_far_edge_either() -> None:
    """A step in the brightness is where it was, to a hundredth of a pixel, though 8 does not divide the width."""
    pixels = np.full((641, 903, 3), 40.0)
    pixels[:, 840:] = 200.0
    full, reduced = both(encode(pixels), SIZE, "squash")
    where = [(row[-1] - row.mean()) / (row[-1] - row[0]) * SIZE[1] for row in (full[20, :, 0], reduced[20, :, 0])]
    np.testing.assert_allclose(where, 840 / 903 * SIZE[1], atol=0.01)


def test_padding_begins_at_the_same_pixel() -> None:
    for height in range(321, 371, 2):  # of some, what is stored behind the picture reaches the middle of a black row
        full, reduced = both(encode(np.full((height, 1800, 3), 255.0)), SIZE, "pad")
        np.testing.assert_array_equal(full.any(-1), reduced.any(-1))
        assert not full.any(-1).all()


# --- what it leaves alone ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_small_images_and_other_formats_are_those_of_the_full_decode(mode: image.Resize) -> None:
    small = encode(smooth(4 * SIZE[0] - 1, 4 * SIZE[1] - 1))
    png = tf.io.encode_png(smooth(400, 560).astype(np.uint8)).numpy()
    for data in (small, png, *ENCODED.values()):
        full, reduced = both(data, SIZE, mode)
        np.testing.assert_array_equal(full, reduced)


def test_arrays_are_resized_as_ever() -> None:
    pixels = smooth(400, 560).astype(np.uint8)
    for array, rgb in ((pixels, pixels), (pixels[..., 0], np.repeat(pixels[..., :1], 3, -1))):
        result = image.load_resized({"image": array, "label": 1}, SIZE, "crop", reduced=True)
        assert result["label"] == 1
        np.testing.assert_array_equal(result["image"], image.resize(rgb, SIZE, "crop"))


@pytest.mark.parametrize("name", ["jpeg", "jpeg_progressive", "jpeg_grey", "jpeg_cmyk"])
@pytest.mark.parametrize(("size", "mode", "ratio"), [((2, 8), "crop", 2), ((1, 4), "squash", 4), ((1, 2), "pad", 8)])
def test_grey_and_cmyk_become_rgb_at_every_ratio(name: str, size: tuple[int, int], mode: image.Resize, ratio: int) -> None:
    decoded, source = image.decode_reduced(tf.constant(ENCODED[name]), size, mode)
    expected = squares(GREYS if name == "jpeg_grey" else COLORS)[::ratio, ::ratio]
    np.testing.assert_allclose(decoded.numpy().astype(int), expected.astype(int), atol=12)
    np.testing.assert_array_equal(source, expected.shape[:2])


# --- the same everywhere ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_map_gives_the_same_as_eagerly(mode: image.Resize, tmp_path: Path) -> None:
    photos = [encode(smooth(*shape)) for shape in ((100, 90), (171, 229), (323, 500), (403, 901), (807, 905))]
    photos += [encode(smooth(333, 455)[..., :1]), encode(smooth(333, 455), progressive=True), *ENCODED.values()]
    assert set(scan.ratios(photos, SIZE, mode)) == {1, 2, 4, 8}
    paths = [str(tmp_path / str(place)) for place in range(len(photos))]
    for path, data in zip(paths, photos, strict=True):
        Path(path).write_bytes(data)

    def one(path: tf.Tensor) -> tf.Tensor:
        return image.load_resized({"path": path}, SIZE, mode, reduced=True)["image"]

    data = tf.data.Dataset.from_tensor_slices(paths).map(one, num_parallel_calls=4)
    assert data.element_spec == tf.TensorSpec([*SIZE, 3], tf.float32)
    for path, result in zip(paths, data, strict=True):
        np.testing.assert_array_equal(result, one(path))


def test_batches_decode_as_they_are_told(tmp_path: Path) -> None:
    paths = strings(tmp_path / f"{place}.jpg" for place in range(3))
    for place, path in enumerate(paths):
        Path(path).write_bytes(encode(smooth(330, 455, place)))
    hashed = digests(digest(Path(path).read_bytes()) for path in paths)
    rows = Columns(ids=paths, inputs={"path": paths}, labels=None, digests=hashed)
    preprocess = ImagePreprocess(size=SIZE, mode="unit")
    for reduced in (False, True):
        batches = prepare(rows, preprocess, modality="image", batch_size=3, reduced=reduced)
        (batch,) = batches.epoch()
        expected = [both(Path(path).read_bytes(), SIZE, "crop")[reduced] for path in paths]
        np.testing.assert_array_equal(batch["image"], preprocess(np.stack(expected)))


# --- the ratio --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_ratios_says_what_decode_reduced_does(mode: image.Resize) -> None:
    random = np.random.default_rng(3)
    shapes = [
        *random.integers(60, 1200, (20, 2)).tolist(),
        (160, 224),
        (159, 224),
        (160, 223),
        (320, 448),
        (1, 2000),
        (2000, 9),
    ]
    photos = [encode(np.zeros((*shape, 3))) for shape in shapes]
    for shape, data, ratio in zip(shapes, photos, scan.ratios(photos, SIZE, mode, threads=3), strict=True):
        assert image.decode_reduced(tf.constant(data), SIZE, mode)[0].shape[:2] == [math.ceil(side / ratio) for side in shape]
        sides = [side / (2 * wanted) for side, wanted in zip(shape, SIZE, strict=True)]
        spare = max(sides) if mode == "pad" else min(sides)
        assert ratio == max(r for r in (1, 2, 4, 8) if r == 1 or r <= spare)


def test_ratios_reads_headers_alone(tmp_path: Path) -> None:
    photo = encode(smooth(400, 560))
    profile = b"\xff\xe2\xff\xffx" + bytes(65_532)
    contents = {
        "cut.jpg": photo[:2000],
        "late.jpg": photo[:2] + 2 * profile + photo[2:],
        "broken.jpg": photo[:3],
        "broken_late.jpg": photo[:2] + 2 * profile,
        "a.png": ENCODED["png"],
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert scan.ratios([str(tmp_path / name) for name in contents], SIZE).tolist() == [4, 4, 1, 1, 1, 1]
    assert scan.ratios(list(contents.values()), SIZE).tolist() == [4, 4, 1, 1, 1, 1]
    assert scan.ratios([], SIZE).shape == (0,)
    with pytest.raises(tf.errors.NotFoundError):
        scan.ratios([str(tmp_path / "missing.jpg")], SIZE)


# --- what can't be read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
def test_an_eighth_finds_the_damage_that_the_full_decode_finds(progressive: bool) -> None:
    whole = encode(smooth(150, 200), progressive=progressive)
    random = np.random.default_rng(4)
    damaged = [whole[: len(whole) - cut] for cut in (1, 2, 3, 10, 500, len(whole) // 2, len(whole) - 4)]
    for place in range(120):
        data = bytearray(whole)
        start = int(random.integers(2, len(data) - 400))
        length = int(random.integers(1, 3 if place % 2 else 400))
        data[start : start + length] = random.bytes(length)
        damaged.append(bytes(data))
    refused = [place for place, data in enumerate(damaged) if not decodes(data)]
    assert set(range(7)) < set(refused)
    assert len(refused) < len(damaged)
    assert [place for place, _ in scan.unreadable(damaged)] == refused


def decodes(data: bytes) -> bool:
    try:
        image.decode(tf.constant(data))
    except tf.errors.InvalidArgumentError:
        return False
    return True
