"""Folds: every example is tested once, and what belongs together is on one side."""

from __future__ import annotations

import numpy as np
import pytest

from tests.data.test_splits import columns, config, records
from tfl import data
from tfl.config import UserError
from tfl.data import Splits, earnings_calls
from tfl.data.examples import strings
from tfl.data.splits import split
from tfl.methods.folds import folds_of, summarise


def test_a_group_is_on_one_side_of_every_fold() -> None:
    splits: Splits = data.load(earnings_calls.Config(), 0)
    assert splits.groups is not None
    company = dict(
        zip(
            np.concatenate([splits.train.ids, splits.validation.ids]),
            np.concatenate([splits.groups["train"], splits.groups["validation"]]),
            strict=True,
        )
    )
    for folds in (2, 3, 5):
        tested: list[str] = []
        for parts in folds_of(splits, folds, 0):
            train, validation, test = ({company[name] for name in part.ids} for part in parts)
            assert train.isdisjoint(test)
            assert validation.isdisjoint(train | test)
            tested += list(parts[2].ids)
        assert sorted(tested) == sorted(company)


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_copies_are_in_one_fold(folds: int) -> None:
    made = split(
        records(columns(np.tile([0, 1], 40), texts=[f"text {i // 4} {i % 2}" for i in range(80)]), ("a", "b")), config()
    )
    for train, validation, test in folds_of(made, folds, 0):
        contents = [set(part.digests.tolist()) for part in (train, validation, test)]
        assert sum(map(len, contents)) == len(set().union(*contents))


def test_two_folds_of_few_groups() -> None:
    groups = {"all": strings(f"g{i // 10}" for i in range(80))}
    made = split(records(columns(np.tile([0, 1], 40)), ("a", "b"), groups=groups), config())
    assert [len(part) > 0 for parts in folds_of(made, 2, 0) for part in parts] == [True] * 6
    with pytest.raises(UserError, match=r"folds: 9 is more than there are groups \(7\)"):
        folds_of(made, 9, 0)


def test_folds_of_few_different_examples_have_every_class() -> None:
    made = split(records(columns(np.tile([0, 1], 40), texts=["x", "y"] * 40), ("a", "b")), config())
    for parts in folds_of(made, 3, 0):
        assert [set(part.labels.tolist()) for part in parts] == [{0, 1}] * 3


def test_the_interval_of_folds_knows_that_their_training_parts_overlap() -> None:
    values = [0.80, 0.82, 0.84, 0.86, 0.88]
    found = summarise([{"accuracy": {"value": value, "low": 0, "high": 1}, "loss": 1.0} for value in values])["metrics"]
    assert list(found) == ["accuracy"]
    # t(0.975, 4) = 2.776, S² = 0.001, and Nadeau and Bengio's 1/5 + 1/4 where a plain interval has 1/5
    half = 2.7764451 * (0.001 * (1 / 5 + 1 / 4)) ** 0.5
    assert np.allclose([found["accuracy"][name] for name in ("mean", "low", "high")], [0.84, 0.84 - half, 0.84 + half])


def test_the_interval_of_folds_of_an_accuracy_ends_at_1() -> None:
    found = summarise([{"accuracy": {"value": value, "low": 0, "high": 1}} for value in (0.9, 1.0)])["metrics"]["accuracy"]
    assert (found["low"], found["high"]) == (0, 1)
