"""Folders, tables and arrays as people have them, where reading them as they stand would be wrong without a word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data.make import png, write_folder, write_records
from tests.data.test_splits import columns, config, records
from tfl import data
from tfl.config import UserError
from tfl.data.again import Reads, labelled
from tfl.data.given import given
from tfl.data.splits import split

READS = Reads(modality="image", pairs=False, kind="classification", class_names=("ant", "bee"))


def folder(path: Path) -> data.Splits:
    return data.load(data.folder.Config(path=str(path)))


def table(path: Path, **fields: Any) -> data.Splits:
    return data.load(data.table.Config(path=str(path), **fields))


# --- copies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("many", "few", "size"), [(5, 10, 3), (0, 100, 5)])
def test_copies_stay_on_one_side_beside_rare_classes(seed: int, many: int, few: int, size: int) -> None:
    labels = np.repeat(np.arange(many + few), [100] * many + [size] * few)
    texts = [f"text {place}" for place in range(len(labels))]
    places = range(40) if many else range(0, 25, 5)
    for place in places:  # a copy of an example of the same class
        texts[place + 1] = texts[place]
    splits = split(records(columns(labels, texts=texts), tuple(map(str, range(many + few)))), config(), seed)
    assert splits.duplicates == ()
    assert splits.sizes["test"] >= 0.12 * len(labels)


def test_few_different_examples_of_each_class_leave_every_class_in_the_test_split() -> None:
    labels = np.repeat([0, 1], 8)
    texts = [f"text {place // 2}" for place in range(16)]
    splits = split(records(columns(labels, texts=texts), ("a", "b")), config())
    assert min(splits.class_counts["test"].values()) == min(splits.class_counts["validation"].values()) == 1
    texts = [f"text {place // 4}" for place in range(160)]
    labels = np.repeat(np.arange(10), 16)
    splits = split(records(columns(labels, texts=texts), tuple("abcdefghij")), config(test=0.07))
    assert sum(count > 0 for count in splits.class_counts["test"].values()) >= 5


# --- folders ----------------------------------------------------------------------------------------------------------


def test_the_folders_of_a_popular_layout_are_splits(tmp_path: Path) -> None:
    for name, start in (("training_set", 0), ("test_set", 100)):
        write_folder(tmp_path / name, {"ant": 12, "bee": 12}, seed=start)
    splits = folder(tmp_path)
    assert splits.class_names == ("ant", "bee")
    assert splits.sizes["test"] == 24


def test_splits_without_one_to_train_on_are_no_classes(tmp_path: Path) -> None:
    for name, start in (("val", 0), ("test", 100)):
        write_folder(tmp_path / name, {"ant": 12, "bee": 12}, seed=start)
    with pytest.raises(UserError, match="no training examples: the source brings only"):
        folder(tmp_path)


def test_a_folder_with_a_test_split_alone_can_be_evaluated_on(tmp_path: Path) -> None:
    write_folder(tmp_path / "test", {"ant": 3, "bee": 2})
    rows, bad = labelled(str(tmp_path), {}, {"source": "folder"}, READS)
    assert (len(rows), bad) == (5, ())
    assert np.asarray(rows.labels).tolist() == [0, 0, 0, 1, 1]


def test_a_class_may_be_called_test_beside_others(tmp_path: Path) -> None:
    write_folder(tmp_path, {"test/a": 12, "exam/a": 12})
    assert folder(tmp_path).class_names == ("exam", "test")


def test_a_test_folder_without_classes_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"ant": 12, "bee": 12})
    write_folder(tmp_path, {"test": 4}, seed=100)
    with pytest.raises(UserError, match=r"test/ holds no class folders.*no labels.*tfl predict"):
        folder(tmp_path)


def test_a_link_that_goes_back_is_not_followed_and_others_are(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", {"ant": 12, "bee": 12})
    elsewhere = write_folder(tmp_path / "more", {"ants": 3}, seed=100)
    for name, target in (("up", root), ("here", root / "ant"), ("across", root / "bee"), ("more", elsewhere)):
        os.symlink(target, root / "ant" / name)
    os.symlink(root / "ant", root / "bee" / "back")
    os.symlink("loop", root / "bee" / "loop")  # to itself
    splits = folder(root)
    ids = [one for part in splits.parts.values() for one in part.ids]
    assert sum(one.startswith("ant/more/") for one in ids) == 3
    assert not any(one.startswith(("ant/up/", "ant/here/", "ant/across/back/", "bee/back/across/")) for one in ids)


def test_jpeg_by_its_other_names_is_read_and_raw_files_are_counted(tmp_path: Path) -> None:
    write_folder(tmp_path, {"ant": 12, "bee": 12})
    for place, file in enumerate(sorted(tmp_path.glob("*/*.png"))):
        file.rename(file.with_suffix((".jfif", ".jpe", ".dib")[place % 3]))
    (tmp_path / "bee" / "photo.CR2").write_bytes(b"raw")
    splits = folder(tmp_path)
    assert sum(splits.sizes.values()) == 24
    assert splits.left_out == {"bee": {".cr2": 1}}


# --- tables -----------------------------------------------------------------------------------------------------------


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("text,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_quote_that_is_none_does_not_make_rows_one_text(tmp_path: Path) -> None:
    lines = [f"film {place},{'ab'[place % 2]}" for place in range(40)]
    lines[5], lines[20] = f'"{lines[5]}', f'"{lines[20]}'
    file = write_lines(tmp_path / "films.csv", lines)
    with pytest.raises(UserError, match=r"films.csv: not a readable table: line 7: .*is a quote not closed"):
        table(file)
    with pytest.raises(UserError, match=r"films.csv: not a readable table: line 7: "):
        given(file, "text", False, {"text": "text"})


def test_quotes_within_a_line_and_texts_of_several_lines_are_read(tmp_path: Path) -> None:
    lines = [f"film {place},{'ab'[place % 2]}" for place in range(40)]
    lines[5], lines[6], lines[7] = '"Great" film,b', '"one\ntwo, ""three""",a', '"four\nfive" ,b'
    splits = table(write_lines(tmp_path / "films.csv", lines))
    texts = {one for part in splits.parts.values() for one in part.inputs["text"]}
    assert {"Great film", 'one\ntwo, "three"', "four\nfive "} <= texts
    assert len(texts) == 40


def test_two_columns_of_one_name_are_an_error_where_they_are_used(tmp_path: Path) -> None:
    rows = [f"film {place},{'ab'[place % 2]},{'xy'[place % 2]},z,z" for place in range(40)]
    file = tmp_path / "films.csv"
    file.write_text("text,label,label,note,note\n" + "\n".join(rows) + "\n")
    with pytest.raises(UserError, match=r"films.csv: two columns are called 'label'; rename one"):
        table(file)
    file.write_text("text,label,tone,note,note\n" + "\n".join(rows) + "\n")
    assert table(file).class_names == ("a", "b")


@pytest.mark.parametrize("word", ["NA", "nan", "null", "N/A", "-"])
def test_a_word_for_nothing_among_numbers_is_a_missing_label(tmp_path: Path, word: str) -> None:
    numbers = [str(place / 7) for place in range(40)]
    numbers[3] = word
    splits = table(write_lines(tmp_path / "t.csv", [f"film {place},{number}" for place, number in enumerate(numbers)]))
    assert splits.kind == "regression"
    assert [(bad.id, bad.reason) for bad in splits.unreadable] == [("t.csv:5", "no label")]


def test_none_beside_many_numbers_of_classes_is_a_class(tmp_path: Path) -> None:
    names = [*(str(place % 60) for place in range(180)), *["none"] * 6]
    splits = table(write_lines(tmp_path / "t.csv", [f"film {place},{name}" for place, name in enumerate(names)]))
    assert (splits.kind, len(splits.class_names)) == ("classification", 61)


def test_a_word_for_nothing_among_classes_is_a_class(tmp_path: Path) -> None:
    stars = [["1", "2", "NA"][place % 3] for place in range(60)]
    splits = table(write_lines(tmp_path / "t.csv", [f"film {place},{star}" for place, star in enumerate(stars)]))
    assert splits.class_names == ("1", "2", "NA")


def test_bytes_are_the_texts_that_they_hold(tmp_path: Path) -> None:
    texts = [f"größer {place}" for place in range(40)]
    frame = pd.DataFrame({"text": [text.encode() for text in texts], "label": [b"a", b"b"] * 20})
    frame.to_parquet(tmp_path / "t.parquet")
    for splits in (table(tmp_path / "t.parquet"), data.load(data.memory.Config(), data=frame)):
        assert {one for part in splits.parts.values() for one in part.inputs["text"]} == set(texts)
        assert splits.class_names == ("a", "b")
    frame.loc[3, "text"] = b"gr\xf6\xdfer"
    (bad,) = data.load(data.memory.Config(), data=frame).unreadable
    assert bad.reason == r"no text in column 'text': bytes b'gr\xf6\xdfer' is not UTF-8"


@pytest.mark.parametrize("mark", ["\n", "\r"])
def test_a_class_whose_name_has_a_line_break_is_an_error(mark: str) -> None:
    frame = pd.DataFrame({"text": [f"film {place}" for place in range(40)], "label": [f"good{mark}news", "bad"] * 20})
    with pytest.raises(UserError, match=r"the class 'good\\[nr]news' has a line break in its name"):
        data.load(data.memory.Config(), data=frame)


def test_columns_that_are_numbered_are_named_by_their_numbers(tmp_path: Path) -> None:
    pd.DataFrame({0: [f"film {place}" for place in range(40)], 1: ["a", "b"] * 20}).to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.parquet", text="0", label="1").class_names == ("a", "b")


def test_labels_that_are_all_empty_are_an_error(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "t.csv", [f"film {place}," for place in range(40)])
    with pytest.raises(UserError, match="no example has a label"):
        table(file, label_separator="|")


# --- arrays and records -----------------------------------------------------------------------------------------------


def test_floats_a_little_above_1_are_an_error_and_not_black(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((40, 6, 6, 3)).astype(np.float32)
    labels = np.arange(40) % 2
    high = images.copy()
    high[0, 0, 0, 0] = 1.03
    np.savez(tmp_path / "x.npz", x_train=images, y_train=labels, x_test=high, y_test=labels)
    with pytest.raises(UserError, match=r"x_test: values from .* to 1.03 as float32.*numpy.clip"):
        data.load(data.npz.Config(path=str(tmp_path / "x.npz")))


def test_labels_of_one_column_and_class_names_that_are_bytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
    labels = np.arange(40) % 2
    arrays = {"x_train": images[:30], "y_train": labels[:30, None], "x_test": images[30:], "y_test": labels[30:]}
    np.savez(tmp_path / "x.npz", **arrays, class_names=np.array([b"cat", b"dog"]))
    assert data.load(data.npz.Config(path=str(tmp_path / "x.npz"))).class_names == ("cat", "dog")


@pytest.mark.parametrize("row", [[0, 1], (0.0, 1.0), np.array([0, 1])])
def test_lists_of_0_and_1_are_several_labels(row: Any) -> None:
    rows = [row, type(row)([1, 1]) if not isinstance(row, np.ndarray) else np.array([1, 1])] * 20
    splits = data.load(data.memory.Config(), data=([f"film {place}" for place in range(40)], rows))
    assert (splits.kind, splits.unreadable, splits.class_names) == ("multilabel", (), ("0", "1"))


def test_latin_1_in_records_is_named(tmp_path: Path) -> None:
    rows = [{"image": png(place), "label": ["caf\xe9".encode("latin-1"), b"tea"][place % 2]} for place in range(24)]
    write_records(tmp_path / "a.tfrecord", rows)
    with pytest.raises(UserError, match=r"b'caf\\xe9' is not UTF-8"):
        data.load(data.tfrecord.Config(path=str(tmp_path)))
    write_records(tmp_path / "a.tfrecord", [{**row, "label": place % 2} for place, row in enumerate(rows)])
    (tmp_path / "classes.txt").write_bytes("café\ntea\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"classes: classes.txt: not UTF-8"):
        data.load(data.tfrecord.Config(path=str(tmp_path)))
