"""Tables as people have them: other column names, pairs, images, gaps, other encodings, several labels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.assets import asset
from tests.data.make import write_folder
from tfl import data
from tfl.config import UserError

FRAME = pd.DataFrame(
    {"text": [f"text {i}" for i in range(40)], "label": ["no", "yes"] * 20, "half": np.arange(40) / 2, "n": range(40)}
)


def load(path: Path, **fields):
    return data.load(data.table.Config(path=str(path), **fields))


def write(tmp: Path, frame: pd.DataFrame = FRAME, name: str = "t.csv") -> Path:
    frame.to_csv(tmp / name, index=False)
    return tmp / name


def texts(splits) -> dict[str, str]:
    """The text of each id."""
    return {i: t for part in splits.parts.values() for i, t in zip(part.ids, part.inputs["text"], strict=True)}


def test_all_formats_hold_the_same_examples(tmp_path):
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_csv(tmp_path / "a.tsv", index=False, sep="\t")
    FRAME.to_parquet(tmp_path / "a.parquet")
    FRAME.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    found = [texts(load(tmp_path / f"a.{kind}")) for kind in ("csv", "tsv", "parquet", "jsonl")]
    assert all(sorted(rows.values()) == sorted(FRAME["text"]) for rows in found)
    assert found[0]["a.csv:2"] == found[1]["a.tsv:2"] == found[2]["a.parquet:1"] == found[3]["a.jsonl:1"] == "text 0"


def test_an_id_is_the_line_also_after_line_breaks_and_blank_lines(tmp_path):
    rows = [f"plain {i},{'ab'[i % 2]}" for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label", '"two\nlines",a', "", "after,b", *rows]) + "\n\n")
    found = texts(load(tmp_path / "t.csv"))
    assert found["t.csv:2"] == "two\nlines"
    assert found["t.csv:5"] == "after"
    assert found["t.csv:6"] == "plain 0"
    assert len(found) == 22


def test_words_that_pandas_takes_for_gaps_are_texts_and_classes(tmp_path):
    frame = pd.DataFrame({"text": [f"{w} {i}" for i in range(10) for w in ("NA", "None")], "label": ["None", "NA"] * 10})
    frame.loc[0, "text"] = "null"
    splits = load(write(tmp_path, frame))
    assert splits.class_names == ("NA", "None")
    assert splits.unreadable == ()
    assert "null" in texts(splits).values()


def test_the_text_column_is_guessed_where_one_is_obvious(tmp_path):
    renamed = FRAME.rename(columns={"text": "Sentence"})
    assert len(texts(load(write(tmp_path, renamed)))) == 40
    with pytest.raises(UserError, match=r"which column holds the texts .*columns: phrase, label, half, n"):
        load(write(tmp_path, FRAME.rename(columns={"text": "phrase"})))
    with pytest.raises(UserError, match=r"'review', 'body'|'review' and 'body'"):
        load(write(tmp_path, FRAME.rename(columns={"text": "review"}).assign(body="x")))


def test_missing_columns_are_named_with_the_nearest(tmp_path):
    path = write(tmp_path)
    with pytest.raises(UserError, match=r"t.csv: no column 'txt' \(did you mean 'text'\?\); columns: text, label, half, n"):
        load(path, text="txt")
    with pytest.raises(UserError, match="no column 'labels'"):
        load(path, label="labels")
    with pytest.raises(UserError, match="which column holds the labels"):
        load(write(tmp_path, FRAME.drop(columns="label")))
    with pytest.raises(UserError, match=r"no column 'text'; columns seem to be separated by ';': read it with pandas"):
        data.load(data.memory.Config(text="text", label="label"), data=pd.DataFrame({"text;label": ["a;b"]}))


@pytest.mark.parametrize("row", ["a;b", "a, b;c", "a, b, c;d"])
def test_a_table_with_another_separator_is_named(tmp_path, row):
    rows = [f"{i} {row}" if i % 2 else f"{i} x;y" for i in range(4)]
    (tmp_path / "semi.csv").write_text("\n".join(["text;label", *rows]) + "\n")
    with pytest.raises(UserError, match=r"semi.csv: columns seem to be separated by ';', not by ','; .*sep=';'"):
        load(tmp_path / "semi.csv")


def test_the_advice_for_another_separator_makes_a_table_of_it(tmp_path):
    frame = FRAME.assign(label=FRAME["half"] + 0.25, text=[f"{i}, NA" for i in range(40)])
    frame.to_csv(tmp_path / "semi.csv", index=False, sep=";", decimal=",")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "semi.csv")
    program = str(caught.value).split('"')[1]
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert load(tmp_path / "semi-commas.csv").kind == "regression"
    for name, sep, other in (("tabs.csv", "\t", "tabs.tsv"), ("commas.tsv", ",", "commas.csv")):
        FRAME.to_csv(tmp_path / name, index=False, sep=sep)
        with pytest.raises(UserError, match=f"rename it to {other}"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("values", "kind", "names"),
    [
        (["no", "yes"] * 20, "classification", ("no", "yes")),
        ([2, 10] * 20, "classification", ("2", "10")),
        ([True, False] * 20, "classification", ("False", "True")),
        (np.arange(40) / 3, "regression", ()),
        ([1.0, 2.5] * 20, "regression", ()),
        ([1.0, 2.0, 3.0, 10.0] * 10, "classification", ("1", "2", "3", "10")),
    ],
)
def test_the_kind_goes_by_the_labels(tmp_path, values, kind, names):
    splits = load(write(tmp_path, FRAME.assign(label=values)))
    assert (splits.kind, splits.class_names) == (kind, names)
    assert splits.train.labels.dtype == (np.float32 if kind == "regression" else np.int64)


def test_many_whole_numbers_are_a_regression_unless_said_otherwise(tmp_path):
    frame = pd.DataFrame({"text": [f"t {i}" for i in range(240)], "label": np.arange(240) % 60})
    assert load(write(tmp_path, frame)).kind == "regression"
    assert len(load(write(tmp_path, frame), kind="classification").class_names) == 60
    assert load(write(tmp_path, frame.assign(label=frame["label"] % 3)), kind="regression").kind == "regression"


def test_rows_without_text_or_label_are_reported_with_their_line(tmp_path):
    frame = pd.concat([FRAME] * 4, ignore_index=True).assign(text=[f"t {i}" for i in range(160)])
    frame["label"] = frame["label"].map({"no": 3, "yes": 4}).astype(object)
    frame.loc[3, "text"], frame.loc[4, "text"], frame.loc[5, "label"] = None, "  ", None
    splits = load(write(tmp_path, frame))
    assert [(item.id, item.reason) for item in splits.unreadable] == [
        ("t.csv:5", "no text in column 'text'"),
        ("t.csv:6", "no text in column 'text'"),
        ("t.csv:7", "no label"),
    ]
    assert splits.class_names == ("3", "4")  # a gap does not make whole numbers a quantity


def test_a_target_that_is_no_number_is_reported(tmp_path):
    frame = FRAME.assign(label=FRAME["half"].astype(object))
    frame.loc[2, "label"] = "n/a"
    splits = load(write(tmp_path, frame), kind="regression")
    assert [(item.id, item.reason) for item in splits.unreadable] == [("t.csv:4", "label 'n/a' is not a number")]


def test_several_columns_of_0_and_1_are_multilabel(tmp_path):
    frame = FRAME.assign(red=[0, 1] * 20, round=[1, 1, 0, 0] * 10)
    splits = load(write(tmp_path, frame), label=("red", "round"))
    assert (splits.kind, splits.class_names) == ("multilabel", ("red", "round"))
    assert splits.train.labels.dtype == np.float32
    assert {name: sum(c[name] for c in splits.class_counts.values()) for name in ("red", "round")} == {
        "red": 20,
        "round": 20,
    }


def test_separated_labels_are_multilabel_and_an_empty_cell_is_none_of_them(tmp_path):
    splits = load(write(tmp_path, FRAME.assign(label=["red| round", "", "red", "round"] * 10)), label_separator="|")
    assert (splits.kind, splits.class_names) == ("multilabel", ("red", "round"))
    assert splits.unreadable == ()
    assert {tuple(row) for row in splits.train.labels.tolist()} == {(1, 1), (0, 0), (1, 0), (0, 1)}


def test_pairs(tmp_path):
    frame = FRAME.rename(columns={"text": "premise"}).assign(hypothesis=[f"h {i}" for i in range(40)])
    splits = load(write(tmp_path, frame), text="premise", text_pair="hypothesis")
    example = next(iter(splits.test.dataset().as_numpy_iterator()))
    assert example["text_pair"].decode() == example["text"].decode().replace("text", "h")


def test_images_by_path_relative_to_the_table(tmp_path):
    write_folder(tmp_path / "pics", {"a": 20, "b": 20})
    names = [f"pics/{name}/{i:02d}.png" for name in "ab" for i in range(20)]
    frame = pd.DataFrame({"file": [*names, "pics/gone.png"], "label": ["a"] * 20 + ["b"] * 20 + ["a"]})
    splits = load(write(tmp_path, frame))
    assert splits.modality == "image"
    assert sum(splits.sizes.values()) == 40
    assert [item.id for item in splits.unreadable] == ["t.csv:42"]
    assert "gone.png: no such file" in splits.unreadable[0].reason
    assert all(Path(path).is_file() for path in splits.train.inputs["path"])


def test_split_and_group_columns(tmp_path):
    where = ["Train"] * 20 + ["dev"] * 10 + ["test"] * 10
    splits = load(write(tmp_path, FRAME.assign(part=where)), split="part")
    assert splits.sizes == {"train": 20, "validation": 10, "test": 10}
    splits = load(write(tmp_path, FRAME.assign(part=["train"] * 30 + ["val"] * 10)), split="part")
    assert splits.sizes["test"] == 10
    with pytest.raises(UserError, match=r"t.csv:2: 'trian' in column 'part' names no split; .*did you mean 'train'"):
        load(write(tmp_path, FRAME.assign(part="trian")), split="part")
    splits = load(write(tmp_path, FRAME.assign(who=np.arange(40) // 4)), group="who")
    assert not set(splits.groups["train"]) & set(splits.groups["test"])


def test_files_for_validation_and_test_are_what_they_are_given_for(tmp_path):
    path = write(tmp_path)
    held = write(tmp_path, FRAME.head(6).assign(text=[f"held {i}" for i in range(6)]), "dev.csv")
    splits = load(path, validation_path=str(held), test=0.25)
    assert splits.sizes == {"train": 30, "validation": 6, "test": 10}
    splits = load(path, test_path=str(held), validation=0.25)
    assert splits.sizes == {"train": 30, "validation": 10, "test": 6}
    assert splits.test.ids[0] == "dev.csv:2"


def test_a_table_that_is_not_utf8_names_the_byte_and_the_way_out(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("text,label\nok,a\ncafé,b\n".encode("cp1252"))
    with pytest.raises(UserError, match=r"not UTF-8: byte 0xe9 at position 19 \(line 3\); .*iconv"):
        load(path)
    path.write_bytes("text,label\nok,a\n".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-16"):
        load(path)


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "t.csv").write_text(FRAME.to_csv(index=False), encoding="utf-8-sig")
    assert len(texts(load(tmp_path / "t.csv"))) == 40


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "ragged.csv").write_text("text,label\na,b\nc,d,e,f\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text("text,label\n")
    (tmp_path / "bad.jsonl").write_text(json.dumps({"text": "a", "label": "b"}) + "\n{oops\n")
    (tmp_path / "bad.parquet").write_bytes(b"PAR0")
    (tmp_path / "t.xlsx").write_bytes(b"")
    for name, message in {
        "ragged.csv": "line 3",
        "empty.csv": "not a readable table",
        "header.csv": "no rows",
        "bad.jsonl": "bad.jsonl:2: not JSON",
        "bad.parquet": "not a readable Parquet file",
        "t.xlsx": r"one of \.csv, \.tsv, \.jsonl, \.parquet",
        "emty.csv": r"no such file \(did you mean 'empty.csv'",
    }.items():
        with pytest.raises(UserError, match=message):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "a", "image": "b"},
        {"label_separator": ""},
        {"label": ("a",), "kind": "regression"},
    ],
)
def test_columns_that_contradict_each_other_are_refused(fields):
    with pytest.raises(UserError):
        data.table.Config(path="t.csv", **fields)


def test_real_sentences():
    splits = load(asset("text/sst2_train.csv"), test_path=str(asset("text/sst2_test.csv")), max_train=8000)
    assert (splits.sizes["train"], splits.sizes["test"]) == (8000, 872)
    assert splits.class_names == ("negative", "positive")
    assert splits.unreadable == ()
    contents = len(set(splits.train.digests) | set(splits.validation.digests))
    assert contents < splits.sizes["train"] + splits.sizes["validation"], "there are copies"
    assert splits.duplicates == (), "and they are on one side"
