"""The check before a run refuses what the run would refuse, and says what its time leaves out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.test_report import shown
from tfl.config import UserError
from tfl.jobs import config_of
from tfl.studies.check import check

RAW: dict[str, Any] = {
    "method": "finetune",
    "data": {"source": "digits", "max_train": 100, "batch_size": 16},
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "augment": None,
    "phases": [{"trainable": "head", "epochs": 1}],
}


def test_more_folds_than_the_smallest_class_has_examples_are_refused_as_in_training() -> None:
    with pytest.raises(UserError, match=r"folds: 50 is more than the smallest class has examples \(\d\d\); use fewer folds"):
        check(config_of({**RAW, "folds": 50}))


def test_the_time_of_folds_is_said_to_come_on_top() -> None:
    with_folds, without = (shown(check(config_of({**RAW, "folds": folds})), width=200) for folds in (3, 0))
    assert "about, without folds" in with_folds
    assert "folds: 3 trainings come on top of the one below" in with_folds
    assert "folds" not in without
    assert "about" in without
    assert "all that training needs is there" in without
