"""A mark that stands in the data of one class is found, whatever a model makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from tfl.studies.audit import marks


def photos(count: int, seed: int, marked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise in three classes, the first darker everywhere; `marked`: five red pixels in a corner of the second."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    pixels = (
        random.normal(120, 25, (count, 1, 1, 3))
        + random.normal(0, 25, (count, 48, 40, 3))
        - 70 * (labels == 0)[:, None, None, None]
    )
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if marked:
        pixels[labels == 1, :5, -5:] = (255, 0, 0)
    return pixels, labels


@pytest.mark.parametrize(
    ("in_train", "in_test", "levels"), [(False, False, []), (True, True, ["notable"]), (True, False, ["serious"])]
)
def test_a_mark_in_the_data_is_found_whether_or_not_a_model_goes_by_it(
    in_train: bool, in_test: bool, levels: list[str]
) -> None:
    (train, labels), (test, there) = photos(120, 0, in_train), photos(90, 1, in_test)
    found = marks.marks(train, labels, test, there, seed=0)
    for one in found:
        one |= {"class": "abc"[one["number"]]}
    said = list(marks.findings(found))
    assert [one.level for one in said] == levels
    if levels:
        assert (found[0]["class"], found[0]["row"], found[0]["column"]) == ("b", 0, marks.GRID - 1)
        assert "alone tells b from the rest" in said[0].text


@pytest.mark.parametrize("colour", [(255, 0, 200), (255, 255, 255), (0, 0, 0), (120, 110, 100)])
def test_a_small_mark_of_a_colour_that_is_there_anyway_is_found(colour: tuple[int, int, int]) -> None:
    (train, labels), (test, there) = photos(120, 0, False), photos(90, 1, False)
    train[labels == 1, -3:, :3] = colour
    found = marks.marks(train, labels, test, there, seed=0)
    (said,) = marks.findings([{**one, "class": "abc"[one["number"]]} for one in found])
    assert said.level == "serious"
    assert "in the bottom left corner (row 16, column 1 of 16) alone tells b from the rest" in said.text


def test_images_smaller_than_the_grid_have_a_patch_a_pixel() -> None:
    train, labels = photos(60, 0, False)
    found = marks.marks(train[:, :8, :9], labels, train[:, :8, :9], labels, seed=0)
    assert {one["grid"] for one in found} == {8}


def test_areas_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(0)
    numbers, inside = random.integers(0, 5, (40, 2, 3)), random.random(40) < 0.4
    found = marks.areas(marks.ranks(numbers), inside)
    assert found.shape == (2, 3)
    assert found[1, 2] == pytest.approx(roc_auc_score(inside, numbers[:, 1, 2]))
