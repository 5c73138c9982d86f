"""Image folders as people have them: flat, with splits, nested, with rubbish in them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.assets import asset
from tests.data.make import png, write_folder
from tfl import data
from tfl.config import UserError
from tfl.data.given import given
from tfl.methods.facts import describe_data, told_of_data


def load(path: Path, **fields):
    return data.load(data.folder.Config(path=str(path), **fields))


def with_splits(root: Path, **counts: int) -> Path:
    for place, (name, count) in enumerate(counts.items()):
        write_folder(root / name, {"ant": count, "bee": count}, seed=1000 * place)
    return root


def test_a_name_that_is_not_utf_8_is_reported(tmp_path):
    root = write_folder(tmp_path / "photos", {"dog": 20, "cat": 20})
    os.rename(os.fsencode(root / "dog" / "00.png"), os.fsencode(root / "dog") + b"/caf\xe9.png")
    splits = load(root)
    assert sum(splits.sizes.values()) == 39
    assert [(bad.id, bad.reason) for bad in splits.unreadable] == [("dog/caf\\udce9.png", "its path is not UTF-8; rename it")]
    found = given(root, "image", False, {})
    assert len(found.errors) == 1
    "\n".join(found.ids).encode("utf-8")


def test_one_folder_a_class(tmp_path):
    splits = load(write_folder(tmp_path, {"dog": 20, "cat": 20}), validation=0.1, test=0.2)
    assert splits.class_names == ("cat", "dog")
    assert splits.sizes == {"train": 28, "validation": 4, "test": 8}
    assert all(splits.class_names[label] in name for name, label in zip(splits.train.ids, splits.train.labels, strict=True))


@pytest.mark.parametrize("held", ["val", "validation", "valid", "dev", "test"])
def test_a_single_held_out_folder_is_the_test_split(tmp_path, held):
    splits = load(with_splits(tmp_path, train=10, **{held: 4}), validation=0.2)
    assert splits.sizes == {"train": 16, "validation": 4, "test": 8}
    assert all(name.startswith(f"{held}/") for name in splits.test.ids)
    assert all(name.startswith("train/") for name in splits.validation.ids)


def test_three_folders_are_what_they_say(tmp_path):
    splits = load(with_splits(tmp_path, train=10, val=3, test=4))
    assert splits.sizes == {"train": 20, "validation": 6, "test": 8}
    assert all(name.startswith("val/") for name in splits.validation.ids)


def test_folders_in_classes_hidden_files_and_other_files(tmp_path):
    write_folder(tmp_path, {"cat/indoors/2024": 6, "cat": 6, "dog": 12, ".cache": 3, "__MACOSX": 0, "__MACOSX/cat": 2})
    (tmp_path / "dog" / "._00.png").write_bytes(b"resource fork")
    (tmp_path / "dog" / "notes.txt").write_text("a note")
    (tmp_path / "dog" / "UPPER.PNG").write_bytes(png(99))
    splits = load(tmp_path)
    assert splits.class_names == ("cat", "dog")
    assert sum(splits.sizes.values()) == 25
    assert splits.unreadable == ()
    assert any(name.startswith("cat/indoors/2024/") for part in splits.parts.values() for name in part.ids)


def test_corrupt_images_are_named_and_skipped(tmp_path):
    write_folder(tmp_path, {"cat": 30, "dog": 30})
    (tmp_path / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    (tmp_path / "dog" / "empty.png").write_bytes(b"")
    splits = load(tmp_path)
    assert [item.id for item in splits.unreadable] == ["cat/broken.jpg", "dog/empty.png"]
    assert all(item.reason for item in splits.unreadable)
    assert sum(splits.sizes.values()) == 60
    with pytest.raises(UserError, match=r"on_error is fail(.|\n)*cat/broken.jpg"):
        load(tmp_path, on_error="fail")


def test_a_class_that_train_lacks_is_an_error(tmp_path):
    with_splits(tmp_path, train=6, test=3)
    write_folder(tmp_path / "test", {"bees": 2}, seed=9)
    with pytest.raises(UserError, match=r"class 'bees' is not in .*train \(did you mean 'bee'"):
        load(tmp_path)


def test_an_empty_class_folder_is_an_error(tmp_path):
    write_folder(tmp_path, {"cat": 6, "dog": 6, "fox": 0})
    with pytest.raises(UserError, match=r"no training example of class 'fox'; .* Add examples or remove the class$"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"Add examples or raise max_train$"):
        load(tmp_path, max_train=4)


def test_images_of_every_format_are_read(tmp_path):
    write_folder(tmp_path, {"ant": 20, "bee": 20})
    for place, name in enumerate(("ant/20.jpg", "ant/21.JPEG", "bee/20.gif", "bee/21.bmp", "bee/22.WEBP")):
        picture = Image.fromarray(np.full((8, 8, 3), 40 * place, np.uint8))
        picture.save(tmp_path / name)
    splits = load(tmp_path)
    assert sum(splits.sizes.values()) == 45
    assert not splits.unreadable
    assert not splits.left_out


def test_images_of_other_formats_are_counted(tmp_path):
    with_splits(tmp_path, train=10, test=4)
    for place, name in enumerate(["train/ant/1.tif", "train/ant/deep/2.TIF", "test/bee/3.tif", "test/bee/4.heic"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes([place]))
    splits = load(tmp_path)
    assert splits.left_out == {"ant": {".tif": 2}, "bee": {".tif": 1, ".heic": 1}}
    assert "  left out: 3 .tif, 1 .heic; convert them to JPEG or PNG" in list(told_of_data(splits))
    assert describe_data(splits)["left_out"] == {".tif": 3, ".heic": 1}


def test_a_class_of_files_that_cannot_be_read_is_an_error_that_says_so(tmp_path):
    write_folder(tmp_path, {"cat": 6, "dog": 6, "tulip": 0})
    for number in range(20):
        (tmp_path / "tulip" / f"{number}.heic").write_bytes(b"ftyp")
    with pytest.raises(UserError, match=r"example of class 'tulip', but 20 \.heic, which cannot be read: convert them"):
        load(tmp_path)


def test_a_photo_in_train_and_test_is_reported(tmp_path):
    with_splits(tmp_path, train=6, test=3)
    (tmp_path / "test" / "ant" / "copy.png").write_bytes((tmp_path / "train" / "ant" / "00.png").read_bytes())
    ((original, split, copy, held),) = load(tmp_path).duplicates
    assert (original, copy, held) == ("train/ant/00.png", "test/ant/copy.png", "test")
    assert split in ("train", "validation")


def test_folders_that_hold_nothing_to_read(tmp_path):
    (tmp_path / "phone" / "cat").mkdir(parents=True)
    (tmp_path / "phone" / "cat" / "1.HEIC").write_bytes(b"x")
    write_folder(tmp_path / "flat", {".": 3})
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match=r"1 \.heic files, which cannot be read; convert them"):
        load(tmp_path / "phone")
    with pytest.raises(UserError, match="not in sub-folders"):
        load(tmp_path / "flat")
    with pytest.raises(UserError, match="no images found"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match=r"no such folder \(did you mean 'phone'"):
        load(tmp_path / "phnoe")


def test_classes_beside_splits_are_an_error(tmp_path):
    with_splits(tmp_path, train=3, test=3)
    write_folder(tmp_path, {"wasp": 2})
    with pytest.raises(UserError, match="wasp/ stands beside train/"):
        load(tmp_path)


def test_a_class_may_be_called_test(tmp_path):
    assert load(write_folder(tmp_path, {"test": 8, "control": 8})).class_names == ("control", "test")


def test_real_photos():
    splits = load(asset("images/hymenoptera"))
    assert splits.class_names == ("ants", "bees")
    assert splits.sizes["train"] + splits.sizes["validation"] == 244
    assert splits.class_counts["test"] == {"ants": 70, "bees": 83}
    assert splits.unreadable == ()
