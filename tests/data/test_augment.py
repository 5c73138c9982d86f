"""Augmentation: reproducible example by example in a parallel map, and each operation against a hand-computed case."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tfl.config import UserError
from tfl.data import randaugment
from tfl.data.augment import Augment, augment, example_numbers, example_seed, mix
from tfl.data.examples import digests

NONE = Augment(flip=False, crop=1.0, color=0.0)
EVERYTHING = Augment(vertical_flip=True, hue=0.1, rotate=20, randaugment=2)
KINDS = {
    "default": Augment(),
    "rotate": Augment(rotate=15),
    "randaugment": Augment(randaugment=3),
    "everything": EVERYTHING,
}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (24, 32, 3)).astype(np.float32)


def draws(image: np.ndarray, config: Augment, count: int = 200) -> np.ndarray:
    """`count` augmentations of `image`, [count, h, w, 3]."""
    data = tf.data.Dataset.range(count).map(lambda i: augment(tf.constant(image), example_seed(0, 0, i), config))
    return np.stack(list(data.as_numpy_iterator()))


@pytest.mark.parametrize("kind", KINDS)
def test_equal_eagerly_and_in_a_parallel_shuffled_map(image: np.ndarray, kind: str) -> None:
    def change(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index, augment(tf.constant(image), example_seed(7, 2, index), KINDS[kind])

    data = tf.data.Dataset.range(32).shuffle(32, seed=1).map(change, num_parallel_calls=4, deterministic=False)
    found = {int(index): result.numpy() for index, result in data}
    assert sorted(found) == list(range(32))
    for index, result in found.items():
        eager = augment(tf.constant(image), example_seed(7, 2, index), KINDS[kind])
        np.testing.assert_allclose(result, eager, atol=1e-3)  # a compiled graph may round the last bit differently
        assert result.dtype == np.float32
        assert result.shape == image.shape
        assert 0 <= result.min() <= result.max() <= 255
    assert len({result.tobytes() for result in found.values()}) == 32


def test_twice_the_same_graph_gives_the_same_bits(image: np.ndarray) -> None:
    np.testing.assert_array_equal(draws(image, EVERYTHING, 40), draws(image, EVERYTHING, 40))


def test_static_shape_is_kept() -> None:
    data = tf.data.Dataset.from_tensors(tf.zeros([5, 6, 3]))
    data = data.map(lambda x: augment(x, tf.constant([1, 2]), EVERYTHING))
    assert data.element_spec == tf.TensorSpec([5, 6, 3], tf.float32)


def test_nothing_asked_nothing_done(image: np.ndarray) -> None:
    np.testing.assert_array_equal(augment(tf.constant(image), tf.constant([1, 2]), NONE), image)


def test_example_seeds_differ_by_run_epoch_and_example() -> None:
    seeds = {tuple(example_seed(run, epoch, index).numpy()) for run in range(3) for epoch in range(4) for index in range(5)}
    assert len(seeds) == 60
    in_graph = tf.data.Dataset.range(5).map(lambda i: example_seed(2, 3, i))
    np.testing.assert_array_equal(list(in_graph)[4], example_seed(2, 3, 4))


def test_example_numbers_are_of_the_content() -> None:
    hashed = digests([b"f" * 32, b"0" * 32, b"00000000000000a" + b"7" * 17])
    assert example_numbers(hashed).tolist() == [2**60 - 1, 0, 10]
    assert example_numbers(hashed).dtype == np.int64
    seeds = [example_seed(0, 0, number) for number in example_numbers(hashed)]
    batch = {"image": tf.zeros([2, 4, 4, 3]), "label": tf.constant([0, 1])}
    weights = [mix(batch, seed, Augment(mixup=1.0))["mix_weight"].numpy().tolist() for seed in seeds]
    assert len({tuple(weight) for weight in weights}) == 3  # the largest number doesn't run over in `mix`


def test_an_example_looks_the_same_wherever_it_is() -> None:
    """In another order, another split or on its own, an example has the same view in the same epoch."""
    rows = tiny.examples(12)
    options = {"training": True, "seed": 3, "augment": Augment()}

    def views(places: list[int], epoch: int) -> dict[int, np.ndarray]:
        seen = {}
        for batch in tiny.batches(rows.take(np.array(places)), batch_size=5, **options).epoch(epoch):
            seen |= {places[index]: image for index, image in zip(batch["index"], batch["image"].numpy(), strict=True)}
        return seen

    everything = views(list(range(12)), epoch=1)
    assert len(everything) == 12
    for places in ([11, 3, 7, 0], [5], list(range(11, -1, -1))):
        for place, image in views(places, epoch=1).items():
            np.testing.assert_array_equal(image, everything[place])
    assert np.abs(views([5], epoch=2)[5] - everything[5]).max() > 0.01


# --- geometry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("field", "axis"), [("flip", 1), ("vertical_flip", 0)])
@pytest.mark.parametrize("rotate", [0.0, 1e-6])
def test_flips_are_exact_and_happen_half_of_the_time(image: np.ndarray, field: str, axis: int, rotate: float) -> None:
    config = dataclasses.replace(NONE, **{field: True}, rotate=rotate)  # so small a turn takes the other op
    results = draws(image, config)
    flipped = np.array([np.allclose(result, np.flip(image, axis), atol=0.05) for result in results])
    same = np.array([np.allclose(result, image, atol=0.05) for result in results])
    assert (flipped ^ same).all()
    assert 70 < flipped.sum() < 130


@pytest.mark.parametrize("rotate", [0.0, 1e-6])
def test_crop_is_a_part_of_the_image_of_the_area_asked_for(rotate: float) -> None:
    rows, columns = np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 61), indexing="ij")
    ramp = np.stack([rows, columns, 0 * rows], -1).astype(np.float32) * 200
    results = draws(ramp, dataclasses.replace(NONE, crop=0.5, rotate=rotate)) / 200
    height, width = results[:, -1, 0, 0] - results[:, 0, 0, 0], results[:, 0, -1, 1] - results[:, 0, 0, 1]
    assert results.min() > -1e-3
    assert results.max() < 1 + 1e-3
    area, aspect = height * width, width / height
    assert area.min() > 0.499
    assert 0.70 < area.mean() < 0.80
    assert aspect.min() > 3 / 4 - 1e-3
    assert aspect.max() < 4 / 3 + 1e-3
    middle = results[:, 0, 0, 0][height < 0.9] / (1 - height[height < 0.9])  # 0: at the top, 1: at the bottom
    assert middle.min() < 0.1
    assert middle.max() > 0.9


def test_rotation_turns_about_the_middle() -> None:
    image = np.zeros((21, 21, 3), np.float32)
    image[10, 10] = 200
    image[10, 12:] = 100
    quarter = randaugment.affine(tf.constant(image), ((0.0, -1.0), (1.0, 0.0)), (10.0, 10.0)).numpy()
    np.testing.assert_allclose(quarter, np.rot90(image, 1), atol=1e-3)
    results = draws(image, dataclasses.replace(NONE, rotate=45))
    np.testing.assert_allclose(results[:, 10, 10], 200, atol=1)
    tips = results[:, :, :, 0] * (np.hypot(*np.mgrid[-10:11, -10:11]) > 6)
    angle = np.degrees(np.arctan2(-(tips.sum(2) @ np.arange(-10, 11)), tips.sum(1) @ np.arange(-10, 11)))
    assert -46 < angle.min() < -40
    assert 40 < angle.max() < 46


# --- colours ----------------------------------------------------------------------------------------------------------


def test_color_is_the_chain_of_brightness_contrast_and_saturation(image: np.ndarray) -> None:
    seed = tf.constant([3, 4], tf.int64)
    image = 80 + image / 5  # far from the ends, where nothing is cut off
    draw = tf.random.stateless_uniform([11], seed, alg="philox").numpy()[7:10]
    brightness, contrast, saturation = 1 + 0.2 * (2 * draw - 1)
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    expected = image * brightness
    expected = contrast * expected + (1 - contrast) * (expected @ grey).mean()
    expected = saturation * expected + (1 - saturation) * (expected @ grey)[..., None]
    result = augment(tf.constant(image), seed, dataclasses.replace(NONE, color=0.2))
    np.testing.assert_allclose(result, expected, atol=0.01)


def test_hue_keeps_greys_and_turns_colours() -> None:
    grey = np.full((4, 4, 3), 90, np.float32)
    np.testing.assert_allclose(draws(grey, dataclasses.replace(NONE, hue=0.5), 20), 90, atol=0.1)
    red = np.full((2, 2, 3), (140, 100, 100), np.float32)
    turned = draws(red, dataclasses.replace(NONE, hue=0.5), 300)[:, 0, 0]
    assert {int(color.argmax()) for color in turned} == {0, 1, 2}
    np.testing.assert_allclose(turned @ [0.299, 0.587, 0.114], red[0, 0] @ [0.299, 0.587, 0.114], atol=0.1)


# --- RandAugment ------------------------------------------------------------------------------------------------------


def operation(name: str, image: np.ndarray, strength: float = 0.5, sign: float = 1.0) -> np.ndarray:
    operations = randaugment._operations(tf.constant(image), tf.constant(sign * strength), strength)
    return operations[name]().numpy()


def test_randaugment_has_the_fourteen_operations_and_draws_them_all(image: np.ndarray) -> None:
    names = list(randaugment._operations(tf.constant(image), tf.constant(0.5), 0.5))
    assert len(names) == 14
    results = draws(image, dataclasses.replace(NONE, randaugment=1, magnitude=5))
    expected = [np.clip(operation(name, image, 0.5, sign), 0, 255) for name in names for sign in (-1, 1)]
    hits = np.array([[np.allclose(result, wanted, atol=0.05) for wanted in expected] for result in results])
    assert hits.any(axis=1).all()
    assert (hits.reshape(200, 14, 2).any(axis=2).sum(axis=0) > 4).all()


def test_operations_on_values_by_hand() -> None:
    image = np.arange(0, 240, 5, dtype=np.float32).reshape(4, 4, 3)
    np.testing.assert_array_equal(operation("identity", image), image)
    np.testing.assert_allclose(operation("solarize", image, 0.5), np.where(image < 128, image, 255 - image))
    np.testing.assert_allclose(operation("posterize", image, 0.5), image // 4 * 4)  # 8 - 2 bits stay
    np.testing.assert_allclose(operation("brightness", image, 0.5, -1), image * 0.55, rtol=1e-6)
    grey = (image @ np.array([0.299, 0.587, 0.114]))[..., None]
    np.testing.assert_allclose(operation("color", image, 0.5), grey + 1.45 * (image - grey), rtol=1e-4)
    np.testing.assert_allclose(operation("contrast", image, 0.5), grey.mean() + 1.45 * (image - grey.mean()), rtol=1e-4)
    low, high = image.min(axis=(0, 1)), image.max(axis=(0, 1))
    np.testing.assert_allclose(operation("autocontrast", image), (image - low) / (high - low) * 255, rtol=1e-4)
    flat = np.full((4, 4, 3), 7, np.float32)
    np.testing.assert_array_equal(operation("autocontrast", flat), flat)
    np.testing.assert_array_equal(operation("equalize", flat), flat)


def test_sharpness_blends_with_a_smoothed_image() -> None:
    image = np.zeros((5, 5, 3), np.float32)
    image[2, 2] = 130
    smooth = np.zeros_like(image)
    smooth[1:4, 1:4] = 10
    smooth[2, 2] = 50
    np.testing.assert_allclose(operation("sharpness", image, 0.5), smooth + 1.45 * (image - smooth), atol=1e-3)


def test_equalize_flattens_the_histogram_as_pillow_does(image: np.ndarray) -> None:
    values = np.round(image / 2).astype(int)
    expected = np.empty_like(image)
    for channel in range(3):
        counts = np.bincount(values[..., channel].ravel(), minlength=256)
        step = (counts.sum() - counts[counts > 0][-1]) // 255
        table = np.minimum((step // 2 + np.concatenate([[0], counts.cumsum()[:-1]])) // step, 255)
        expected[..., channel] = table[values[..., channel]]
    np.testing.assert_array_equal(operation("equalize", image / 2), expected)


def test_shear_and_translate_move_pixels_and_fill_with_grey() -> None:
    image = np.zeros((331, 331, 3), np.float32)
    image[:, 165] = 200
    moved = operation("translate_x", image, 0.1, -1)  # 150 px of 331 at full strength
    assert moved[100, :, 0].argmax() == 180
    np.testing.assert_array_equal(moved[:, :14], randaugment.FILL)
    sheared = operation("shear_x", image, 1.0)
    assert sheared[165, :, 0].argmax() == 165
    assert sheared[65, :, 0].argmax() == 165 + 30
    turned = operation("translate_y", image.transpose(1, 0, 2), 0.1, -1)
    np.testing.assert_allclose(turned, moved.transpose(1, 0, 2), atol=1e-2)


@pytest.mark.parametrize(
    ("field", "value"),
    [("crop", 0), ("crop", 1.5), ("color", -1), ("hue", 0.6), ("rotate", 181), ("magnitude", 11), ("mixup", -0.1)],
)
def test_config_names_the_field(field: str, value: float) -> None:
    with pytest.raises(UserError, match=field):
        Augment(**{field: value})
