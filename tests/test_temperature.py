"""A temperature is a minimum, and not where the search for one ends."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfl import temperature
from tfl.config import UserError
from tfl.studies.audit import calibration
from tfl.studies.audit.subject import Predicted
from tfl.tasks.classification import Classification

NOTHING = r"temperature: the probabilities say nothing on the validation split; no temperature helps, .*; train longer"


def drawn(wrong: float, count: int = 200, sure: float = 0.99) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two classes, as sure of each answer, and labels of which the share `wrong` is another."""
    labels = np.arange(count) % 2
    said = np.where(np.arange(count) // 2 < round(wrong * count / 2), 1 - labels, labels)
    return np.where(np.arange(2) == said[:, None], sure, 1 - sure), labels


@pytest.mark.parametrize("wrong", [0.5, 0.8])
def test_probabilities_that_say_nothing_have_no_temperature(wrong: float) -> None:
    with pytest.raises(UserError, match=NOTHING):
        temperature.fit(*drawn(wrong))


def test_probabilities_that_are_far_too_unsure_have_none_either() -> None:
    with pytest.raises(UserError, match="the probabilities say too little on the validation split; no temperature helps"):
        temperature.fit(*drawn(0.01, sure=0.501))


def test_a_minimum_inside_is_found() -> None:
    """Right for 60 %: log(0.99 / 0.01) / T has to be log(0.6 / 0.4)."""
    assert temperature.fit(*drawn(0.4)) == pytest.approx(np.log(99) / np.log(1.5), rel=1e-3)


def subject(wrong: float) -> Any:
    """A run whose probabilities are wrong for that share of both splits."""
    values, labels = drawn(wrong)
    part: Any = Predicted(rows=None, labels=labels, predictions=values)  # type: ignore[arg-type]
    run = SimpleNamespace(directory=Path("runs/r"))
    task = Classification(class_names=("a", "b"))
    scores = (values.argmax(axis=1) == labels).astype(float)
    return SimpleNamespace(
        run=run, test=part, task=task, kind="classification", classes=("a", "b"), seed=0, part=lambda name: part,
        scores=lambda one: scores,
    )  # fmt: skip


def test_an_audit_says_that_no_temperature_helps_and_recommends_none() -> None:
    found = calibration.section(subject(0.5))
    assert set(found.facts["temperature"]) == {"why"}
    assert any("no temperature helps" in line for line in found.lines)
    assert found.findings
    assert not any("tfl export" in one.text for one in found.findings)
    assert "tfl export runs/r --temperature" in calibration.section(subject(0.4)).findings[0].text


def test_an_end_of_the_search_in_an_older_audit_is_not_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: Any = SimpleNamespace(directory=tmp_path)

    def told(value: float) -> float:
        (tmp_path / calibration.RESULT).write_text(json.dumps({"sections": {"calibration": {"temperature": {"value": value}}}}))
        return calibration.temperature_of(run)

    monkeypatch.setattr(calibration, "Subject", lambda of: subject(0.5))
    assert told(2.5) == 2.5
    with pytest.raises(UserError, match=NOTHING):
        told(19.9999)
