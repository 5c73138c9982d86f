"""Cuts: stratified, grouped, by seed, the same in whatever order the examples come; and what cannot be trained on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.data.test_examples import make_stream
from tfl import data
from tfl.config import UserError
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Records, Unreadable, digest, digests, strings
from tfl.data.splits import held_out, split
from tfl.methods.facts import describe_data, told_of_data


def columns(labels, prefix: str = "row", texts=None) -> Columns:
    texts = texts or [f"{prefix} {i}" for i in range(len(labels))]
    labels = np.asarray(labels)
    return Columns(
        ids=strings(f"{prefix}:{i:04d}" for i in range(len(labels))),
        inputs={"text": strings(texts)},
        labels=labels if labels.dtype == np.float32 else labels.astype(np.int64),
        digests=digests(digest(text.encode()) for text in texts),
    )


def records(splits, names=("a", "b", "c"), **fields) -> Records:
    splits = splits if isinstance(splits, dict) else {"all": splits}
    return Records(**{"splits": splits, "class_names": tuple(names), "modality": "text", "kind": "classification", **fields})


def config(**fields) -> DataConfig:
    return DataConfig(source="test", **fields)


THREE = np.repeat([0, 1, 2], [100, 60, 40])


def members(splits) -> dict[str, list[str]]:
    return {name: sorted(part.ids.tolist()) for name, part in splits.parts.items()}


def test_fractions_are_of_the_whole_and_every_class_keeps_its_share():
    splits = split(records(columns(THREE)), config(test=0.2, validation=0.1))
    assert splits.sizes == {"train": 140, "validation": 20, "test": 40}
    assert splits.class_counts["test"] == {"a": 20, "b": 12, "c": 8}
    assert splits.class_counts["validation"] == {"a": 10, "b": 6, "c": 4}
    assert len(set().union(*members(splits).values())) == 200


def test_the_seed_determines_the_cut():
    cuts = [members(split(records(columns(THREE)), config(), seed)) for seed in (0, 0, 1)]
    assert cuts[0] == cuts[1]
    assert cuts[0] != cuts[2]


def test_the_cut_does_not_depend_on_the_order_of_the_examples():
    order = np.random.default_rng(0).permutation(len(THREE))
    assert members(split(records(columns(THREE)), config())) == members(split(records(columns(THREE).take(order)), config()))


def test_with_a_test_split_validation_is_a_part_of_train():
    parts = {"train": columns(THREE), "test": columns([0, 1, 2] * 30, "held")}
    splits = split(records(parts), config(validation=0.2, test=0.5))
    assert splits.sizes == {"train": 160, "validation": 40, "test": 90}
    assert all(name.startswith("held") for name in splits.test.ids)


def test_given_splits_stay_as_they_are():
    parts = {"train": columns(THREE), "validation": columns([0, 1, 2], "val"), "test": columns([0, 1, 2], "test")}
    assert split(records(parts), config()).sizes == {"train": 200, "validation": 3, "test": 3}


def test_a_missing_test_split_is_cut_from_train():
    parts = {"train": columns(THREE), "validation": columns([0, 1, 2], "val")}
    assert split(records(parts), config(test=0.1)).sizes == {"train": 180, "validation": 3, "test": 20}


def test_a_single_held_out_split_is_the_test_split():
    assert held_out({"train": 1, "validation": 2}) == {"train": 1, "test": 2}
    assert held_out({"train": 1, "validation": 2, "test": 3}) == {"train": 1, "validation": 2, "test": 3}
    assert held_out({"train": 1, "test": 3}) == {"train": 1, "test": 3}


def test_a_rare_class_keeps_its_examples_to_train_on():
    splits = split(records(columns([0] * 50 + [1] * 50 + [2])), config())
    assert splits.class_counts["train"]["c"] == 1


def test_two_of_each_can_still_be_split_and_one_of_each_cannot():
    splits = split(records(columns([0, 0, 1, 1]), names=("a", "b")), config())
    assert splits.sizes == {"train": 2, "validation": 1, "test": 1}
    assert min(splits.class_counts["train"].values()) == 1
    with pytest.raises(UserError, match="too few examples to cut a test split"):
        split(records(columns([0, 1]), names=("a", "b")), config())


def test_many_rare_classes_take_turns_by_seed():
    labels = np.repeat(np.arange(20), 3)
    names = [f"c{i}" for i in range(20)]
    held = {tuple(split(records(columns(labels), names), config(), seed).test.labels) for seed in range(6)}
    assert len(held) == 6
    assert split(records(columns(labels), names), config()).sizes == {"train": 42, "validation": 9, "test": 9}


def test_streams_are_cut_like_columns_and_stay_in_file_order():
    splits = split(records({"all": make_stream(100)}), config())
    assert splits.sizes == {"train": 70, "validation": 15, "test": 15}
    texts = [example["text"].decode() for example in splits.test.dataset().as_numpy_iterator()]
    assert texts == [name.replace("row:", "text ") for name in splits.test.ids]


def test_multilabel_and_regression_are_cut_in_proportion():
    labels = np.zeros((200, 2), dtype=np.float32)
    labels[:100, 0], labels[:20, 1] = 1, 1
    splits = split(records(columns(labels), names=("x", "y"), kind="multilabel"), config(test=0.25))
    assert splits.class_counts["test"] == {"x": 25, "y": 5}
    numbers = columns(np.arange(200, dtype=np.float32))
    splits = split(records(numbers, names=(), kind="regression"), config(test=0.2))
    assert np.histogram(splits.test.labels, bins=[0, 50, 100, 150, 200])[0].tolist() == [10, 10, 10, 10]
    assert splits.class_counts == {}


def test_max_train_takes_a_stratified_part_of_train_alone():
    splits = split(records(columns(THREE)), config(max_train=14))
    assert splits.sizes == {"train": 14, "validation": 30, "test": 30}
    assert splits.class_counts["train"] == {"a": 7, "b": 4, "c": 3}
    assert split(records(columns(THREE)), config(max_train=10_000)).sizes["train"] == 140


def test_duplicates_across_splits_are_reported_and_stay():
    parts = {
        "train": columns([0, 1, 2], texts=["x", "y", "z"]),
        "validation": columns([0, 1], "val", texts=["q", "y"]),
        "test": columns([0, 1, 1], "test", texts=["x", "y", "x"]),
    }
    splits = split(records(parts), config())
    assert set(splits.duplicates) == {
        ("row:0001", "train", "val:0001", "validation"),
        ("row:0000", "train", "test:0000", "test"),
        ("row:0001", "train", "test:0001", "test"),
        ("row:0000", "train", "test:0002", "test"),
        ("val:0001", "validation", "test:0001", "test"),
    }
    assert splits.sizes["test"] == 3
    assert describe_data(splits)["contradictions"] == [["test:0002", "row:0000"]]


def told(parts, names=("a", "b", "c"), **fields) -> list[str]:
    return [line for line in told_of_data(split(records(parts, names, **fields), config())) if not line.startswith("data:")]


def parts_of(train, validation, test, labels=(0, 1, 2)):
    given = {"train": train, "validation": validation, "test": test}
    return {name: columns(labels, name, texts=list(texts)) for name, texts in given.items()}


def test_copies_make_the_test_result_too_good_only_where_they_are_tested_on():
    assert not [line for line in told(parts_of("xyz", "abc", "def")) if "warning" in line]
    (line,) = [line for line in told(parts_of("xyz", "xbc", "def")) if "warning" in line]
    assert line.endswith("1 example stands in two splits, the first as train:0000 (train) and validation:0000 (validation)")
    (line,) = [line for line in told(parts_of("xyz", "xbc", "dyf")) if "warning" in line]
    assert "2 examples stand in two splits, the first as train:0001 (train) and test:0001 (test)" in line
    assert line.endswith("the test result is too good by 1 of them")
    (line,) = [line for line in told(parts_of("xyz", "abc", "dyz")) if "warning" in line]
    assert line.endswith("the test result is too good by them")


def test_one_content_with_two_labels_is_told_and_makes_nothing_too_good():
    (line,) = [line for line in told(parts_of("xyz", "abc", "dxf")) if "warning" in line]
    assert line == "  warning: 1 example has another's content and a different label, the first test:0001 = train:0000"
    parts = {**parts_of("xyz", "abc", "def"), "train": columns([0, 1, 1, 2], "train", texts=["x", "x", "x", "y"])}
    (line,) = [line for line in told(parts) if "warning" in line]
    assert line.endswith("the first train:0000 = train:0001")
    assert not any("different label" in line for line in told(parts, names=(), kind="regression"))


def test_what_is_predicted_and_what_is_not_tested_is_told():
    whole, halves = np.arange(60, dtype=np.float32), np.tile([1, 2.5, 3], 20).astype(np.float32)
    assert "  regression: numbers from 1 to 3 (data.kind=classification if they are classes)" in told(
        columns(halves), names=(), kind="regression"
    )
    assert "(data.kind=classification" in told(columns(whole), names=(), kind="regression")[0]
    assert "  regression: numbers from 0 to 29.5" in told(columns(whole / 2), names=(), kind="regression")
    assert told(columns(whole % 3), names=(), kind="regression") == ["  regression: numbers from 0 to 2"]
    several = np.tile(np.array([[0, 0], [0, 1], [1, 1], [1, 1]], dtype=np.float32), (10, 1))
    assert "  several labels an example: 1.2 of 2 on average; 10 examples have none" in told(
        columns(several), names=("a", "b"), kind="multilabel"
    )
    parts = {"train": columns([0, 1, 2], "t"), "validation": columns([1], "v"), "test": columns([0, 1], "e")}
    assert told(parts)[-2:] == [
        "  warning: no validation example of 'a', 'c': the choice of the epoch does not look at them",
        "  warning: no test example of 'c': the result says nothing about it",
    ]


def test_the_fingerprint_changes_with_content_label_names_and_membership():
    base = columns(THREE)
    relabelled = dataclasses.replace(base, labels=np.roll(base.labels, 1))
    edited = columns(THREE, texts=["new", *(f"row {i}" for i in range(1, 200))])
    prints = [
        split(records(base), config()).fingerprint,
        split(records(relabelled), config()).fingerprint,
        split(records(edited), config()).fingerprint,
        split(records(base, names=("a", "b", "x")), config()).fingerprint,
        split(records(base), config(), seed=1).fingerprint,
    ]
    assert len(set(prints)) == 5
    assert split(records(columns(THREE)), config()).fingerprint == prints[0]


BAD = tuple(Unreadable(f"bad{i}.jpg", "truncated") for i in range(11))


def test_few_unreadable_examples_are_kept_in_the_report_and_many_are_an_error():
    assert split(records(columns(THREE), unreadable=BAD[:10]), config()).unreadable == BAD[:10]  # 10 of 210
    with pytest.raises(UserError, match=r"11 of 211 examples unreadable \(5 %(.|\n)*bad0.jpg: truncated"):
        split(records(columns(THREE), unreadable=BAD), config())


def test_on_error_fail_ends_at_a_single_unreadable_example():
    with pytest.raises(UserError, match=r"on_error is fail(.|\n)*bad0.jpg: truncated"):
        split(records(columns(THREE), unreadable=BAD[:1]), config(on_error="fail"))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (records(columns([])), "no examples"),
        (records(columns([0] * 20), names=("only",)), "only one class: 'only'"),
        (records(columns([0, 1] * 20), names=("a", "b", "ghost")), "no training example of class 'ghost'"),
        (records({"train": columns([0, 1] * 9), "test": columns([2])}), "no training example of class 'c'"),
        (records({"test": columns(THREE)}), "no training examples"),
        (records(columns(np.ones(40, dtype=np.float32)), names=(), kind="regression"), "every training label is 1"),
    ],
    ids=["empty", "one class", "empty class", "class only in test", "no train", "constant target"],
)
def test_what_cannot_be_trained_on_is_said(bad, message):
    with pytest.raises(UserError, match=message):
        split(bad, config())


@pytest.mark.parametrize(
    "fields",
    [{"batch_size": 0}, {"validation": 0.0}, {"test": 1.0}, {"max_train": 0}, {"test": 0.6, "validation": 0.5}],
)
def test_impossible_settings_are_refused(fields):
    with pytest.raises(UserError, match=next(iter(fields))):
        config(**fields)


def test_groups_that_the_data_itself_parts_are_reported(tmp_path):
    folds = ("train", "train", "val", "test", "train")
    rows = [
        {"text": f"text {number}", "label": "ab"[number % 2], "who": f"p{number % 12}", "fold": folds[number % 5]}
        for number in range(96)
    ]
    rows += [{"text": f"own {number}", "label": "ab"[number % 2], "who": f"q{number}", "fold": "train"} for number in range(9)]
    pd.DataFrame(rows).to_csv(tmp_path / "new.csv", index=False)
    table = {"path": str(tmp_path / "new.csv"), "group": "who"}
    splits = data.load(data.table.Config(**table, split="fold"))
    assert {group for group, *_ in splits.parted} == {f"p{number}" for number in range(12)}
    warning = (
        "  warning: 12 groups stand in two splits, the first p0 (train and validation); the test result is too good by them"
    )
    assert warning in list(told_of_data(splits))
    assert describe_data(splits)["parted_groups"] == [list(found) for found in splits.parted]
    assert data.load(data.table.Config(**table)).parted == ()


def test_labels_of_which_every_example_has_one_are_asked_about():
    labels = np.eye(3, dtype=np.int64)[np.arange(30) % 3]
    texts = [f"text {number}" for number in range(30)]
    for given, warned in ((labels, True), (np.maximum(labels, labels[::-1]), False)):
        splits = split(data.from_memory((texts, given)), DataConfig(source="memory"))
        assert any("if they are classes, give one value an example" in line for line in told_of_data(splits)) == warned


def test_a_class_alone_is_named_before_anything_is_cut():
    with pytest.raises(UserError, match="only one class: 'only'"):
        split(data.from_memory((["one", "two"], ["only", "only"])), DataConfig(source="memory"))
