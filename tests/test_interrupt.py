"""What the first Ctrl-C says and does: what is kept, what is not trained any more, and what the second one does."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path
from typing import Any

import keras
import pytest

import tfl
from tests.test_resume import HEAD, IMAGES, TOP, same
from tfl.features.extract import Extractor
from tfl.interrupt import Interrupt


def test_the_first_interrupt_says_that_the_run_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        signal.raise_signal(signal.SIGINT)
        assert interrupt.wanted
        said = capfd.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "keeping what is trained; no further phase is trained (Ctrl-C again to stop at once;" in said
    assert "the same command then goes on from the last checkpoint" in said


class InterruptAt(keras.callbacks.Callback):
    """Counts steps, and does what Ctrl-C does behind one of them."""

    def __init__(self, step: int | None = None) -> None:
        super().__init__()
        self.step, self.steps = step, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.steps == self.step:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_within_a_fold_leaves_a_checkpoint_and_the_same_command_goes_on(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cache = {"directory": str(tmp_path / "cache")}
    options = {**IMAGES, "features": cache, "folds": 3, "phases": [HEAD], "checkpoints": {"steps": None, "seconds": 1000}}
    whole, first, second = InterruptAt(), InterruptAt(9), InterruptAt()  # 4 steps a fold
    expected = tfl.finetune(str(photos), out=tmp_path / "whole", callbacks=[whole], **options)
    with pytest.raises(KeyboardInterrupt):
        tfl.finetune(str(photos), out=tmp_path / "broken", callbacks=[first], **options)
    assert "interrupted: ending after this step; the same command goes on from there" in capfd.readouterr().err
    found = tfl.finetune(str(photos), out=tmp_path / "broken", callbacks=[second], **options)
    assert first.steps + second.steps == whole.steps, "what was trained is not trained again"
    same(expected, found)
    assert found.report.folds == expected.report.folds


def test_ctrl_c_while_features_are_computed_begins_no_further_phase(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the second phase, whose frozen part is a larger one."""
    extract, calls = Extractor.extract, []

    def interrupted(self: Extractor, request: Any) -> Any:
        calls.append(request)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGINT)
        return extract(self, request)

    monkeypatch.setattr(Extractor, "extract", interrupted)
    phases = [dataclasses.replace(TOP, ema=None), HEAD]
    found = tfl.finetune(
        str(photos), out=tmp_path / "run", **{**IMAGES, "phases": phases, "features": {"directory": str(tmp_path)}}
    )
    assert [report.stopped for report in found.report.phases] == ["completed"]
    assert found.report.interrupted
    assert found.metrics
