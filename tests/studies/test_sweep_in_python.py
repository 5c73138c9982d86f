"""A sweep of what is given in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tfl
from tests.studies.test_compare_in_python import table
from tfl.config import UserError

PHASES = [tfl.Phase(epochs=2, learning_rate=1e-2)]


def test_a_table_in_memory_is_swept_over_and_the_best_is_a_run(tiny_bert: Path, tmp_path: Path, capsys: Any) -> None:
    fields: dict[str, Any] = {"data": {"label": "tone", "batch_size": 8}, "phases": PHASES, "out": tmp_path / "s"}
    space = {"task.dropout": [0, 0.5], "phases.0.learning_rate": [1e-5, 3e-2]}
    done = tfl.sweep(table(), space, backbone=str(tiny_bert), **fields)
    assert len(done.ranked) == 4
    assert done.run is not None
    (splits,) = done.run.report.metrics.values()
    assert splits["validation"]["accuracy"]["value"] == pytest.approx(done.ranked[0].score)
    assert done.run.directory == tmp_path / "s" / "best"
    capsys.readouterr()
    again = tfl.sweep(table(), space, backbone=str(tiny_bert), best=False, **fields)
    assert "trial" not in capsys.readouterr().out, "nothing is tried again"
    assert again.ranked == done.ranked
    assert again.run is None
    with pytest.raises(UserError, match="holds a sweep on other data or weights"):
        tfl.sweep(table()[:50], space, backbone=str(tiny_bert), **fields)


def test_several_labels_are_swept_by_the_accuracy_of_each(tiny_bert: Path, tmp_path: Path) -> None:
    frame = table().assign(good=lambda rows: (rows["tone"] == "good").astype(int), long=lambda rows: rows.index % 3 // 2)
    fields: dict[str, Any] = {"data": {"label": ["good", "long"], "batch_size": 8}, "phases": PHASES}
    done = tfl.sweep(frame, {"task.dropout": [0, 0.5]}, backbone=str(tiny_bert), best=False, out=tmp_path / "s", **fields)
    assert done.metric == "label_accuracy"
    assert [trial.failed for trial in done.trials] == ["", ""]
    assert done.ranked[0].score == max(trial.score or 0 for trial in done.trials)


@pytest.mark.parametrize(
    ("space", "trials", "said"),
    [
        ({"task.dropot": [0, 0.2]}, 20, "task.dropot: unknown key; did you mean task.dropout"),
        ({"task.dropout": [0, 2]}, 20, "task.dropout"),
        ({"task.dropout": [0, 0.2]}, 0, "trials: 0 is not valid"),
    ],
)
def test_mistakes_are_named_before_anything_is_tried(space: Any, trials: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        tfl.sweep(table()[:0], space, backbone="minilm", trials=trials, out=tmp_path / "s")
    assert not (tmp_path / "s").exists()
