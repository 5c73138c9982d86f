"""NumPy files and data given in Python."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tests.assets import asset
from tests.data.make import png
from tfl import data
from tfl.config import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
LABELS = np.arange(40) % 2


def load(tmp, **arrays):
    np.savez(tmp / "x.npz", **arrays)
    return data.load(data.npz.Config(path=str(tmp / "x.npz")))


def test_images_and_labels(tmp_path):
    splits = load(tmp_path, images=IMAGES, labels=LABELS, class_names=np.array(["ant", "bee"]))
    assert splits.sizes == {"train": 28, "validation": 6, "test": 6}
    assert splits.class_names == ("ant", "bee")
    assert splits.test.inputs["image"].dtype == np.uint8
    number = int(splits.test.ids[0].split("/")[1])
    assert np.array_equal(splits.test.inputs["image"][0], IMAGES[number])


def test_the_names_of_keras(tmp_path):
    column = LABELS[:, None]
    splits = load(tmp_path, x_train=IMAGES[:30], y_train=column[:30], x_test=IMAGES[30:], y_test=column[30:])
    assert splits.sizes["test"] == 10
    assert splits.class_names == ("0", "1")
    splits = load(tmp_path, x_train=IMAGES[:30], y_train=LABELS[:30], x_val=IMAGES[30:], y_val=LABELS[30:])
    assert splits.sizes["test"] == 10


def test_floats_become_bytes_and_it_is_said(tmp_path, caplog):
    whole = load(tmp_path, images=IMAGES, labels=LABELS).fingerprint
    with caplog.at_level("WARNING", logger="tfl"):
        assert load(tmp_path, images=IMAGES / np.float32(255), labels=LABELS).fingerprint == whole
    assert "0..1" in caplog.text
    assert load(tmp_path, images=IMAGES.astype(np.float64), labels=LABELS).fingerprint == whole
    with pytest.raises(UserError, match="values from -1 to"):
        load(tmp_path, images=IMAGES / 127.5 - 1, labels=LABELS)


def test_bytes_of_0_and_1_are_black_and_it_is_said(tmp_path, caplog):
    masks = (IMAGES > 100).astype(np.uint8)
    splits = load(tmp_path, images=masks, labels=LABELS)
    assert splits.test.inputs["image"].max() == 1, "what was given is what is read"
    assert "all pixels are 0 or 1" in caplog.text
    caplog.clear()
    load(tmp_path, images=IMAGES, labels=LABELS)
    assert "all pixels" not in caplog.text
    assert load(tmp_path, images=masks.astype(bool), labels=LABELS).test.inputs["image"].max() == 255


def test_arrays_that_do_not_fit(tmp_path):
    with pytest.raises(UserError, match="40 images, but 39 labels"):
        load(tmp_path, images=IMAGES, labels=LABELS[:-1])
    with pytest.raises(UserError, match=r"arrays image, labels; needed are images.*did you mean 'images'"):
        load(tmp_path, image=IMAGES, labels=LABELS)
    with pytest.raises(UserError, match="shape"):
        load(tmp_path, images=IMAGES[..., :2], labels=LABELS)
    with pytest.raises(UserError, match=r"not a readable .npz"):
        load(tmp_path, images=IMAGES, labels=np.array([{}] * 40, dtype=object))
    (tmp_path / "x.npz").write_bytes(b"PK no")
    with pytest.raises(UserError, match=r"not a readable .npz"):
        data.load(data.npz.Config(path=str(tmp_path / "x.npz")))
    with pytest.raises(UserError, match="no such file"):
        data.load(data.npz.Config(path=str(tmp_path / "y.npz")))


def test_real_digits():
    splits = data.load(data.npz.Config(path=str(asset("domains/mnist_2000.npz"))))
    assert sum(splits.sizes.values()) == 2000
    assert splits.class_names == tuple("0123456789")


# --- from Python ------------------------------------------------------------------------------------------------------


def given(value, **fields):
    return data.load(data.memory.Config(**fields), data=value)


def test_a_frame(tmp_path):
    frame = pd.DataFrame({"review": [f"r {i}" for i in range(40)], "stars": LABELS}, index=range(100, 140))
    splits = given(frame, text="review", label="stars")
    assert splits.sizes == {"train": 28, "validation": 6, "test": 6}
    assert splits.train.ids[0].startswith("row:")
    with pytest.raises(UserError, match=r"no column 'star' \(did you mean 'stars'"):
        given(frame, text="review", label="star")


@pytest.mark.parametrize("labels", [LABELS, LABELS.tolist(), pd.Series(LABELS, index=range(7, 47))])
def test_arrays(labels):
    splits = given((IMAGES, labels))
    assert (splits.modality, splits.kind) == ("image", "classification")
    assert sum(splits.sizes.values()) == 40


def test_texts_with_names_numbers_or_several_labels():
    texts = [f"t {i}" for i in range(40)]
    assert given((texts, ["no", "yes"] * 20)).class_names == ("no", "yes")
    assert given((pd.Series(texts, index=range(5, 45)), np.arange(40) / 3)).kind == "regression"
    assert given((np.array(texts), np.eye(2)[LABELS])).kind == "multilabel"
    assert given((texts, LABELS)).modality == "text"
    for whole in ([1.0, 2.0] * 20, LABELS.astype(np.float32) + 1):
        assert given((texts, whole)).class_names == ("1", "2")
    assert given((texts, [1.0, 2.0] * 20), kind="regression").kind == "regression"


def test_examples_without_a_label_are_left_out():
    labels = [None, *["yes", "no"] * 19, "yes"]
    splits = given(([f"t {i}" for i in range(40)], labels))
    assert [(item.id, item.reason) for item in splits.unreadable] == [("row:1", "no label")]
    assert sum(splits.sizes.values()) == 39
    assert splits.class_names == ("no", "yes")


def test_paths(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(40)]
    for place, file in enumerate(files):
        file.write_bytes(png(place))
    files[3].write_bytes(b"no")
    for paths in (files, [str(file) for file in files]):
        splits = given((paths, ["no", "yes"] * 20))
        assert (splits.modality, sum(splits.sizes.values())) == ("image", 39)
        assert [item.id for item in splits.unreadable] == ["row:4"]
        for part in splits.parts.values():
            numbers = [int(path.split("/")[-1].split(".")[0]) for path in part.inputs["path"]]
            assert part.labels.tolist() == [number % 2 for number in numbers]


def test_what_is_no_data():
    with pytest.raises(UserError, match="40 inputs, but 39 labels"):
        given((IMAGES, LABELS[1:]))
    with pytest.raises(UserError, match="a path, a DataFrame, or a pair"):
        given({"x": 1})
