"""Folds: every example is tested once, and what belongs together is on one side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.test_splits import columns, config, records
from tests.reporting import make
from tests.test_report import report, shown
from tfl import data
from tfl.config import UserError
from tfl.data import Splits, earnings_calls
from tfl.data.examples import strings
from tfl.data.splits import split
from tfl.methods.folds import folds_of, summarise
from tfl.reporting import sections
from tfl.reporting.evidence import Evidence
from tfl.terminal import summary


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


def with_areas(*values: float | None) -> dict[str, object]:
    """Folds with these areas under the curve; None where a fold tests one class alone, in which case it has no interval."""
    good = {"value": 0.9, "low": 0.8, "high": 1.0}
    return summarise(
        [{"examples": 9, "accuracy": good, "auroc": {"value": value, "low": None, "high": None}} for value in values]
    )


def test_a_metric_that_the_first_fold_does_not_define_is_that_of_the_others() -> None:
    found = with_areas(None, 0.7, 0.9)["metrics"]
    assert list(found) == ["accuracy", "auroc"]
    assert (found["auroc"]["mean"], found["auroc"]["values"]) == (pytest.approx(0.8), [0.7, 0.9])
    # t(0.975, 1) = 12.706, S² = 0.02, of two values in three folds: 1/2 + 1/2; the area ends at 1
    assert (found["auroc"]["low"], found["auroc"]["high"]) == (0, 1)
    assert list(with_areas(None, None)["metrics"]) == ["accuracy"], "no fold defines it"


def test_the_value_of_one_fold_has_no_interval_and_is_shown_without(tmp_path: Path) -> None:
    folds = with_areas(0.7, None, None)
    assert folds["metrics"]["auroc"] == {"mean": 0.7, "low": None, "high": None, "values": [0.7]}
    told = shown(summary(report(folds=folds)))
    assert "3-fold AUROC, defined in 1 of 3 folds: mean 0.700 (no interval)" in told
    assert "3-fold accuracy: mean 0.900 (95 % interval 0.90–0.90)" in told
    run = make.run(tmp_path / "r", [0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], folds=folds)
    table = sections.metrics(Evidence(run)).tables[-1]
    assert table.caption == "3-fold cross-validation"
    assert ("AUROC, defined in 1 of 3 folds", "0.700", "–") in table.rows
