"""What a cell of a table holds is what stands there, in training as in prediction."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.data.make import png
from tfl import data
from tfl.config import UserError
from tfl.data.given import given, of_frame
from tfl.data.given_files import GivenFiles
from tfl.data.labels import of_cells, read_labels


def load(path: Path, **fields: Any) -> Any:
    return data.load(data.table.Config(path=str(path), validation=0.2, test=0.2, **fields))


def texts_and_labels(splits: Any) -> dict[str, Any]:
    found = {}
    for part in (splits.train, splits.validation, splits.test):
        for name, text, label in zip(part.ids, part.inputs["text"], part.labels, strict=True):
            found[name] = (text, splits.class_names[label])
    return found


def to_predict(path: Path) -> dict[str, str]:
    given = GivenFiles([str(path)], "text", False, {}).whole()
    return dict(zip(given.ids, given.inputs["text"], strict=True))


@pytest.mark.parametrize("name", ["new.csv", "new.tsv", "new.jsonl"])
def test_a_text_that_looks_like_a_number_is_the_same_in_training_and_in_prediction(name: str, tmp_path: Path) -> None:
    texts = [f"{number:05d}" for number in range(30)] + [f"{number}.10" for number in range(30)]
    rows = [{"text": text, "label": "ab"[place % 2]} for place, text in enumerate(texts)]
    if name.endswith(".jsonl"):
        rows += [{"text": 100 + place, "label": "a"} for place in range(10)] + [{"text": None, "label": "a"}]
        (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        pd.DataFrame(rows).to_csv(tmp_path / name, index=False, sep="\t" if name.endswith(".tsv") else ",")
    trained = texts_and_labels(load(tmp_path / name))
    predicted = to_predict(tmp_path / name)
    assert {predicted[place] for place in trained} >= set(texts)
    assert all(predicted[place] == text for place, (text, _) in trained.items())


@pytest.mark.parametrize(
    ("cells", "kind", "names"),
    [
        (["01", "1", "2"], "auto", ("01", "1", "2")),
        (["01", "02", "10"], "auto", ("01", "02", "10")),
        (["10", "9", "1"], "auto", ("1", "9", "10")),
        (["1", "2.0", "3"], "auto", ("1", "2", "3")),
        (["1e5", "2e5"], "auto", ("1e5", "2e5")),
        (["1.1", "1.10"], "classification", ("1.1", "1.10")),
        (["true", "FALSE"], "auto", ("False", "True")),
        (["1", "x"], "auto", ("1", "x")),
    ],
)
def test_classes_of_cells(cells: list[str], kind: Any, names: tuple[str, ...], tmp_path: Path) -> None:
    assert read_labels(of_cells(cells, kind), kind).class_names == names
    frame = pd.DataFrame({"text": [f"text {number}" for number in range(60)], "label": (cells * 60)[:60]})
    frame.to_csv(tmp_path / "new.csv", index=False)
    found = texts_and_labels(load(tmp_path / "new.csv", kind=kind))
    assert {name for _, name in found.values()} == set(names)
    again = load(tmp_path / "new.csv", kind="classification")  # as an evaluation reads it
    assert again.class_names == names


@pytest.mark.parametrize("cells", [["0.5", "2"], [".5", "-1e-3"], [str(number) for number in range(60)], ["1.1", "1.10"]])
def test_quantities_of_cells(cells: list[str]) -> None:
    found = read_labels(of_cells([*cells, None]))
    assert found.kind == "regression"
    np.testing.assert_allclose(found.values[:-1], [float(cell) for cell in cells])
    assert found.wrong == {len(cells): "no label"}


def test_indicators_in_cells(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "a": ("0", "1")[number % 2], "b": ("true", "False")[number % 2]} for number in range(40)]
    pd.DataFrame(rows).to_csv(tmp_path / "new.csv", index=False)
    splits = load(tmp_path / "new.csv", label=("a", "b"))
    assert splits.class_names == ("a", "b")
    assert sorted(set(map(tuple, splits.train.labels.tolist()))) == [(0.0, 1.0), (1.0, 0.0)]


def test_lists_of_names_are_several_labels(tmp_path: Path) -> None:
    several = [["x"], ["x", "y"], [], ["z"]] * 15
    for separator in (None, ","):
        rows = [{"text": f"text {place}", "label": label} for place, label in enumerate(several)]
        (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
        splits = load(tmp_path / "new.jsonl", label_separator=separator, kind="multilabel" if separator is None else "auto")
        assert (splits.kind, splits.class_names) == ("multilabel", ("x", "y", "z"))
    found = read_labels([np.array(["x", "y"]), ("x",), None])
    assert found.values.tolist() == [[1, 1], [1, 0], [0, 0]]
    for mixed in (["x", ["y"]], [1, {"x": 1}]):
        with pytest.raises(UserError, match=r"label: .* is not valid; one name or number an example, or for every one a list"):
            read_labels(mixed)
    with pytest.raises(UserError, match="kind: multilabel needs lists of names"):
        read_labels(["x", "y"], "multilabel")
    assert "[0, 1] is not a list of class names" in read_labels([["x"], [0, 1]]).wrong[1]


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": "ab"[number % 2]} for number in range(100)]
    rows += [
        {"text": "cut \ud83d", "label": "a"},
        {"text": ["a", "list"], "label": "a"},
        {"text": "whole \U0001f600", "label": "b"},
    ]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    reasons = {
        "new.jsonl:101": "no text in column 'text': half a character (\\ud83d) at position 4",
        "new.jsonl:102": "no text in column 'text': list ['a', 'list']",
    }
    assert {one.id: one.reason for one in load(tmp_path / "new.jsonl").unreadable} == reasons
    given = GivenFiles([str(tmp_path / "new.jsonl")], "text", False, {}).whole()
    assert {given.ids[place]: reason for place, reason in given.errors.items()} == reasons
    assert len(given.readable()) == 101
    memory = data.from_memory(([*(row["text"] for row in rows[:101]), "more"], ["a", "b"] * 51), data.memory.Config())
    assert [one.reason for one in memory.unreadable] == ["no text: half a character (\\ud83d) at position 4"]


def test_another_separator_is_found_before_anything_is_predicted(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("id;text\n0;a feel movie\n1;good, really\n")
    with pytest.raises(UserError, match=r"new\.csv: columns seem to be separated by ';', not by ','"):
        to_predict(tmp_path / "new.csv")


def test_columns_of_a_frame_are_called_as_texts() -> None:
    frame = pd.DataFrame({0: [f"text {number}" for number in range(40)], 1: ["a", "b"] * 20})
    records = data.from_memory(frame, data.memory.Config(text="0", label="1"))
    assert records.class_names == ("a", "b")
    twice = frame.assign(more=1, again=2).set_axis([0, 1, "more", "more"], axis=1)
    assert data.from_memory(twice, data.memory.Config(text="0", label="1")).class_names == ("a", "b"), "which nobody asks for"
    with pytest.raises(UserError, match="two columns are called 'more'; rename one"):
        data.from_memory(twice, data.memory.Config(text="0", label="more"))
    with pytest.raises(UserError, match="two columns are called 'more'; rename one"):
        of_frame(twice, "text", False, {"text": "more"})
    assert len(of_frame(twice, "text", False, {"text": "0"}).ids) == 40


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"label": "text"}, "label: 'text' is the column of the examples themselves (text) already; name another one"),
        ({"label": "more", "text_pair": "more"}, "label: 'more' is the column of the examples themselves (text_pair)"),
        ({"label": ("flag", "text")}, "label: 'text' is the column of the examples themselves"),
        ({"text": "text", "text_pair": "text"}, "text_pair: 'text' is the column of texts (text) already"),
        ({"split": "label"}, "split: 'label' is the column of labels (label) already"),
        ({"group": "label"}, "group: 'label' is the column of labels (label) already; name another one, or null"),
    ],
)
def test_a_column_is_one_thing(fields: dict[str, Any], said: str) -> None:
    rows = range(40)
    frame = pd.DataFrame(
        {"text": [f"t{n}" for n in rows], "more": [f"m{n}" for n in rows], "label": ["a", "b"] * 20, "flag": 0}
    )
    with pytest.raises(UserError, match=re.escape(said)):
        data.from_memory(frame, data.memory.Config(**fields))
    assert data.from_memory(frame, data.memory.Config(text_pair="more", group="more")).class_names == ("a", "b")


def hub_table(file: Path, count: int = 40) -> Path:
    """A table of images as Hugging Face Datasets write one; two rows of it cannot be read."""
    cells: list[Any] = [{"bytes": png(place), "path": f"{place}.png"} for place in range(count)]
    cells[3], cells[7] = {"bytes": b"no image", "path": "3.png"}, {"bytes": None, "path": "7.png"}
    pd.DataFrame({"image": cells, "label": np.arange(count) % 2}).to_parquet(file)
    return file


def test_encoded_images_in_a_table(tmp_path: Path) -> None:
    file = hub_table(tmp_path / "train.parquet")
    splits = data.load(data.table.Config(path=str(file), on_error="skip", validation=0.2, test=0.2))
    assert sum(splits.sizes.values()) == 38
    assert [(bad.id, bad.reason) for bad in splits.unreadable] == [
        ("train.parquet:4", "not an image: starts with b'no image'"),
        ("train.parquet:8", "no image"),
    ]
    row = next(iter(splits.test.dataset().as_numpy_iterator()))
    assert row["image"] == png(int(splits.test.ids[row["index"]].split(":")[1]) - 1)


def test_encoded_images_are_predicted(tmp_path: Path) -> None:
    file = hub_table(tmp_path / "train.parquet")
    for found in (GivenFiles([str(file)], "image", False, {}).whole(), given(pd.read_parquet(file), "image", False, {})):
        assert sorted(found.errors) == [3, 7]
        assert found.readable().inputs["image"][3] == png(4)
        assert len(found.readable().digests) == 38
    listed = given(pd.read_parquet(file)["image"], "image", False, {})
    assert (sorted(listed.errors), listed.ids[:2]) == ([3, 7], ["0", "1"])
    assert GivenFiles([str(file)], "image", False, {}).whole().shown["image"][:2] == ["0.png", "1.png"]
    (tmp_path / "x.png").write_bytes(png(0))
    with pytest.raises(UserError, match="predicted one after the other"):
        GivenFiles([str(file), str(tmp_path / "x.png")], "image", False, {}).whole()


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([png(0), "a.png"] * 20, "column 'image' holds paths of images and encoded images"),
        ([np.zeros((4, 4))] * 40, "column 'image' holds ndarray"),
        ([7] * 40, "column 'image' holds int 7; needed are paths of images, or the bytes of encoded ones"),
    ],
)
def test_a_column_that_holds_no_images_is_refused_once(cells: list[Any], said: str) -> None:
    frame = pd.DataFrame({"image": cells, "label": ["a", "b"] * 20})
    with pytest.raises(UserError) as error:
        data.from_memory(frame, data.memory.Config())
    assert str(error.value).startswith(said)
    assert len(str(error.value)) < 300


def test_tensors_are_arrays() -> None:
    texts = [f"text {number}" for number in range(10)]
    records = data.from_memory((texts, tf.constant([0, 1] * 5)), data.memory.Config())
    assert records.class_names == ("0", "1")


@pytest.mark.parametrize("labels", [{0: 1, 1: 0}, "ab", 5])
def test_labels_that_are_no_list(labels: Any) -> None:
    with pytest.raises(UserError, match=r"is not valid; a pair \(inputs, labels\), each an array or a list"):
        data.from_memory((["one", "two"], labels), data.memory.Config())
