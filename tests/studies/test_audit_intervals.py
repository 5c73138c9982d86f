"""What is known by a single number alone has no interval, is shown without, and makes no finding."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.reporting import make
from tfl.reporting import audited
from tfl.reporting.evidence import Evidence
from tfl.studies.audit import intervals, overfitting, robustness, slices
from tfl.studies.audit.finding import graded
from tfl.studies.audit.subject import Predicted
from tfl.tasks.regression import Regression

ONE, MANY = np.array([-0.3]), np.array([-0.1, -0.4, -0.2])


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (intervals.mean(ONE), -0.3),
        (intervals.apart(MANY, ONE), 0.2 / 3),
        (intervals.apart(ONE, MANY), -0.2 / 3),
        (intervals.paired(ONE, ONE / 2), -0.15),
    ],
)
def test_a_single_number_has_no_interval(found: dict[str, Any], value: float) -> None:
    assert found["value"] == pytest.approx(value)
    assert (found["low"], found["high"]) == (None, None)
    assert intervals.shown(found) == f"{value:.3f} (no interval)"
    assert graded(found["low"], "", notable=-9, serious=-9) == ()


def test_a_single_share_and_several_numbers_keep_theirs() -> None:
    one = np.array([1.0])
    for found in (intervals.mean(one), intervals.apart(one, one), intervals.paired(one, one), intervals.mean(MANY)):
        assert found["low"] < found["value"] + 1e-12
        assert found["low"] < found["high"]


def test_numbers_that_are_all_alike_have_an_interval_without_width() -> None:
    assert intervals.apart(ONE.repeat(3), ONE.repeat(2)) == {"value": 0.0, "low": 0.0, "high": 0.0}


def numbers(errors: np.ndarray, trained: np.ndarray) -> Any:
    """A regression that is off by `errors` in test and by `trained` where it was trained."""
    parts = {name: Predicted(rows=None, labels=one, predictions=one) for name, one in (("test", errors), ("train", trained))}  # type: ignore[arg-type]
    report = SimpleNamespace(phases=())
    return SimpleNamespace(
        test=parts["test"], task=Regression(), run=SimpleNamespace(report=report), scores=lambda one: -np.abs(one.labels),
        part=lambda name: parts["train"], random=lambda *key: np.random.default_rng(0),
    )  # fmt: skip


def test_a_slice_of_one_example_is_listed_without_an_interval(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = np.array(["many"] * 12 + ["one"], object)
    errors = np.concatenate([np.linspace(0.1, 0.9, 12), [9.0]])
    monkeypatch.setattr(slices, "slices_of", lambda subject, chosen: {"where": names})
    found = slices.section(numbers(errors, errors))
    assert found.findings == ()
    assert found.lines == ("where: one -9.000 (no interval), n 1, many -0.500 (-0.67 to -0.33), n 12",)
    run = make.run(tmp_path / "r", [0.0, 1.0, 3.0], [0.1, 0.9, 2.0], kind="regression", names=())
    (run / "audit.json").write_text(json.dumps({"sections": {"slices": found.facts}}))
    page = audited.slices(Evidence(run))
    assert page is not None
    assert ("one", "1", "-9.000", "–") in page.tables[0].rows


def test_a_gap_to_a_single_number_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "LEAST", 1)
    names = np.array(["many"] * 30 + ["one"], object)
    errors = np.concatenate([np.linspace(0.1, 0.9, 30), [99.0]])
    monkeypatch.setattr(slices, "slices_of", lambda subject, chosen: {"where": names})
    found = slices.section(numbers(errors, errors))
    assert found.facts["columns"]["where"]["gap"]["p"] < 0.05
    assert found.findings == ()
    beside = slices.beside_scratch(-errors, -errors / 2, names)
    assert beside is not None
    assert beside["verdict"] == "no difference"


def test_one_test_example_shows_no_overfitting() -> None:
    found = overfitting.section(numbers(np.array([2.0]), np.linspace(0.1, 0.5, 20)))
    assert found.findings == ()
    assert found.facts["train"]["gap"] == {"value": pytest.approx(1.7), "low": None, "high": None}
    assert found.lines[0].endswith(", 1.700 (no interval) above test")


def test_one_corrupted_example_is_no_finding() -> None:
    drop = intervals.paired(np.array([-0.1]), np.array([-5.0]))
    one = {"strength": 2, "unit": "share", "setting": 0.3, "drop": drop}
    assert robustness._finding("noise", one) == ()
