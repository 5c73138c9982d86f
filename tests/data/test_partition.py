"""What belongs together is cut to one side: groups, and copies of one example."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.test_splits import columns, config, members, records
from tfl.config import UserError
from tfl.data.examples import strings
from tfl.data.splits import split


def grouped(seed: int = 0, groups: int = 30):
    random = np.random.default_rng(7)
    group = strings(f"g{i}" for i in random.integers(0, groups, 600))
    labels = random.integers(0, 3, 600)
    return split(records(columns(labels), groups={"all": group}), config(test=0.2, validation=0.1), seed)


def test_no_group_is_on_two_sides():
    splits = grouped()
    sides = [set(splits.groups[name].tolist()) for name in ("train", "validation", "test")]
    assert sum(map(len, sides)) == len(set().union(*sides)) == 30
    assert [len(splits.groups[name]) for name in splits.groups] == [splits.sizes[name] for name in splits.groups]


def test_groups_are_cut_near_to_the_fraction_and_to_the_mix_of_classes():
    splits = grouped()
    assert abs(splits.sizes["test"] - 120) <= 15
    assert abs(splits.sizes["validation"] - 60) <= 15
    assert all(abs(count - 40) <= 12 for count in splits.class_counts["test"].values())
    assert members(grouped(0)) == members(grouped(0)) != members(grouped(1))


def test_groups_stay_beside_their_examples():
    group = strings(f"g{i // 10}" for i in range(200))
    splits = split(records(columns(np.arange(200) % 3), groups={"all": group}), config(max_train=30))
    assert splits.sizes["train"] == 30
    for name, part in splits.parts.items():
        assert splits.groups[name].tolist() == [f"g{int(i.split(':')[1]) // 10}" for i in part.ids]


def test_large_groups_are_cut_whole_and_a_single_one_cannot():
    labels = np.tile([0, 1, 2], 30)
    group = strings(np.repeat(["x", "y", "z"], 30))
    assert split(records(columns(labels), groups={"all": group}), config()).sizes == {
        "train": 30,
        "validation": 30,
        "test": 30,
    }
    with pytest.raises(UserError, match="too few groups"):
        split(records(columns(labels), groups={"all": strings(["x"] * 90)}), config())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grouped_too", [False, True])
def test_copies_are_cut_to_one_side(seed, grouped_too):
    """Every third text is there three times, and one of them with two labels."""
    texts = [f"text {i if i % 3 else i % 90}" for i in range(270)]
    labels = np.asarray([int(text.split()[1]) % 4 // 2 for text in texts])
    labels[60] = 1 - labels[150]
    group = {"groups": {"all": strings(f"g{i // 5}" for i in range(270))}} if grouped_too else {}
    splits = split(records(columns(labels, texts=texts), ("a", "b"), **group), config(test=0.2, validation=0.1), seed)
    assert splits.duplicates == ()
    assert sum(splits.sizes.values()) == 270
    assert 40 <= splits.sizes["test"] <= 68
    assert 15 <= splits.sizes["validation"] <= 39
    assert min(splits.class_counts["test"].values()) > 10
    if grouped_too:
        sides = [set(found.tolist()) for found in splits.groups.values()]
        assert sum(map(len, sides)) == len(set().union(*sides)), "no group is torn apart"
    else:
        assert {"row:0060", "row:0150", "row:0240"} <= set(members(splits)["train"]), "what has two labels is not tested on"


def test_where_there_are_few_different_examples_every_class_is_tested_all_the_same():
    splits = split(records(columns(np.tile([0, 1], 20), texts=["x", "y"] * 20), ("a", "b")), config())
    assert splits.sizes == {"train": 28, "validation": 6, "test": 6}
    assert splits.class_counts["test"] == {"a": 3, "b": 3}
    assert len(splits.duplicates) > 0, "and it is said"
