"""The report: what is written comes back, other files are named, and the terminal's face of it can be read."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfl.config import UserError
from tfl.evaluate import evaluate
from tfl.report import SCHEMA, Moved, PhaseReport, Report
from tfl.terminal import headline, metrics_table, summary


def classification(names: tuple[str, ...] = ("ants", "bees"), count: int = 153) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(names), count)
    probabilities = rng.dirichlet(np.ones(len(names)), count) + 2 * np.eye(len(names))[labels] * rng.random((count, 1))
    return evaluate("classification", labels, probabilities / probabilities.sum(1, keepdims=True), names, resamples=200)


def phase(**fields: Any) -> PhaseReport:
    values: dict[str, Any] = {
        "trainable": "head",
        "blocks": (),
        "trainable_parameters": 2_562,
        "frozen_parameters": 2_257_984,
        "learning_rates": {"head": 1e-3},
        "epochs": tuple({"epoch": n, "loss": 1 / n, "val_loss": 1.1 / n, "accuracy": 0.9, "seconds": 2.5} for n in (1, 2, 3)),
        "kept_epoch": 3,
        "stopped": "completed",
        "seconds": 8.41,
        "examples_per_second": 81.6,
        "waiting": 0.01,
        "moved": Moved(changed=2, frozen=260),
    }
    return PhaseReport(**values | fields)


def report(**fields: Any) -> Report:
    top = phase(
        trainable={"last": 4},
        blocks=("block_14", "block_15", "block_16", "top"),
        trainable_parameters=1_204_482,
        frozen_parameters=1_056_064,
        kept_epoch=2,
        stopped="early stopping",
        seconds=83.0,
        waiting=0.12,
        moved=Moved(changed=27, frozen=233, still=("block_16_project/kernel",)),
    )
    values: dict[str, Any] = {
        "method": "finetune",
        "config": {"method": "finetune", "data": {"source": "folder"}},
        "data": {
            "fingerprint": "ab12",
            "sizes": {"train": 207, "validation": 37, "test": 153},
            "class_counts": {"test": {"ants": 70, "bees": 83}},
            "unreadable": [{"id": f"bees/{n}.jpg", "reason": "truncated JPEG"} for n in range(5)],
            "duplicates": [["ants/1.jpg", "train", "ants/7.jpg", "test"]],
            "parted_groups": [["garden 2", "train", "test"], ["garden 2", "validation", "test"]],
            "contradictions": [["ants/3.jpg", "bees/4.jpg"]],
            "left_out": {".webp": 15},
        },
        "backbone": {
            "name": "mobilenet_v2",
            "origin": "mobilenet_v2_1.0_224_imagenet.weights.h5",
            "sha256": "00ff",
            "parameters": 2_257_984,
            "loaded": ["Conv1"],
            "missing": [],
            "unused": [],
        },
        "phases": (phase(), top),
        "metrics": {"label": {"validation": classification(count=37), "test": classification()}},
        "seconds": {"data": 2.1, "weights": 0.8, "training": 91.4, "evaluation": 3.0},
        "versions": {"tfl": "0.1.0"},
        "hardware": {"cpus": 2},
    }
    return Report(**values | fields)


def shown(renderable: Any, width: int = 80) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, no_color=True, highlight=False).print(renderable)
    return out.getvalue()


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    original = report()
    original.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == original
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["schema"] == SCHEMA


def test_numbers_that_json_cannot_hold_become_null(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    epochs = ({"epoch": 1, "loss": float("nan"), "val_loss": np.float32("inf"), "steps": np.int64(3)},)
    report(phases=(phase(epochs=epochs),), hardware={"memory": np.array([1.5, np.nan])}).save(file)
    forbidden = json.loads(file.read_text(encoding="utf-8"), parse_constant=lambda word: pytest.fail(word))
    assert forbidden["phases"][0]["epochs"] == [{"epoch": 1, "loss": None, "val_loss": None, "steps": 3}]
    assert forbidden["hardware"] == {"memory": [1.5, None]}
    shown(summary(Report.load(file)))


def change(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | fields), encoding="utf-8")


def test_a_newer_schema_says_update(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    report().save(file)
    change(file, later="field")
    assert Report.load(file) == report()
    change(file, schema=SCHEMA + 1)
    with pytest.raises(UserError, match="update tfl"):
        Report.load(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": "1"}', '{"schema": 1}', '{"schema": 1, "phases": [{}]}'])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"report\.json: not a (whole )?report of tfl"):
        Report.load(file)


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such report"):
        Report.load(tmp_path / "report.json")
    with pytest.raises(UserError, match="not a report"):
        Report.load(tmp_path)


def test_summary_begins_with_the_answer_and_fits_80_columns() -> None:
    text = shown(summary(report()))
    one = report().metrics["label"]["test"]["accuracy"]
    expected = f"test accuracy {one['value']:.3f} (95 % interval {one['low']:.2f}–{one['high']:.2f}, 153 examples)"
    assert text.splitlines()[0] == expected
    assert max(map(len, text.splitlines())) <= 80
    for part in (
        "phase 1, head: 3 epochs, 8.4 s",
        "trained 2,562 of 2,260,546 parameters: head\n",
        "moved 2 of 2 trainable variables; all 260 frozen variables unchanged",
        "phase 2, last 4: 3 epochs, the weights of epoch 2 kept (early stopping), 1 min",
        "head and 4 blocks, block_14 to top",
        "moved 27 of 28 trainable variables",
        "12% of the time waiting for data",
        "warning: phase 2: block_16_project/kernel",
        "ants/1.jpg (train) = ants/7.jpg (test)",
        "the same group in two splits, 2 in all: garden 2 (train and test); garden 2 (validation and test)",
        "the same content with different labels, 1 in all: ants/3.jpg = bees/4.jpg",
        "left out: 15 .webp",
        "warning: 5 unreadable skipped: bees/0.jpg: truncated JPEG",
        "… and 2 more",
        "training 1 min 31 s",
        "together 1 min 37 s",
        "calibration error",
    ):
        assert " ".join(part.split()) in " ".join(text.split()), part


def test_a_run_shows_its_result_and_prints_its_summary() -> None:
    from tfl.run import Run

    made: Any = None  # nothing of the model is asked for
    run = Run(Path("runs/photos"), made, report())
    first, *others = str(run).splitlines()
    assert repr(run) == f"<Run runs/photos: {first}>"
    assert first.startswith("test accuracy ")
    assert "phase 1, head: 3 epochs, 8.4 s" in others


def test_summary_of_several_tasks_regression_and_folds() -> None:
    rng = np.random.default_rng(1)
    labels = rng.normal(size=50)
    numbers = evaluate("regression", labels, labels + rng.normal(size=50) / 3, (), resamples=200)
    folds = {"metrics": {"accuracy": {"mean": 0.9, "low": 0.85, "high": 0.95, "values": [0.88, 0.9, 0.92]}}}
    metrics = {"tone": {"test": classification()}, "size": {"validation": numbers}}
    text = shown(summary(report(metrics=metrics, folds=folds)))
    assert text.startswith("tone: test accuracy")
    assert headline(report(metrics=metrics)).startswith("tone: test accuracy ")
    assert "; size: validation mean absolute error " in headline(report(metrics=metrics))
    assert f"size: validation mean absolute error {numbers['mae']['value']:.3f}" in text
    assert "3-fold accuracy: mean 0.900 (95 % interval 0.85–0.95)" in text


def test_tables_survive_many_classes_long_names_and_brackets() -> None:
    names = tuple(f"[red]class {n}[/red] " + "of a very long name " * 5 for n in range(30))
    text = shown(metrics_table(classification(names, 300)))
    assert "the 20 of 30 classes with the lowest F1:" in text
    assert "[red]class" in text
    assert max(map(len, text.splitlines())) <= 80


def test_metrics_that_are_not_defined_are_dashes() -> None:
    one = evaluate("classification", np.zeros(1, int), np.array([[0.9, 0.1]]), ("a", "b"))
    text = shown(metrics_table(one))
    assert text.startswith("accuracy 1.000 (95 % interval 0.21–1.00, 1 example)")
    assert "None" not in text
    assert "nan" not in text
    assert "––" not in text
    assert " – " in text
    shown(summary(report(metrics={"label": {"test": {"examples": 0}}}, phases=(), seconds={})))
    shown(metrics_table({"tone": one, "part": one}))


def test_every_field_is_documented() -> None:
    page = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    for kind in (Report, PhaseReport, Moved):
        missing = [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in page]
        assert not missing, f"docs/report.md lacks {missing} of {kind.__name__}"
    results = [
        classification(),
        evaluate("multilabel", np.eye(3), np.eye(3), "abc"),
        evaluate("regression", [1, 2], [1, 3], ()),
    ]
    metrics = {name for result in results for name in result}
    assert not [name for name in metrics if f"`{name}`" not in page]
    assert f"schema {SCHEMA}" in page


def test_importing_costs_neither_tensorflow_nor_rich() -> None:
    program = (
        "import sys, tfl.report, tfl.evaluate\n"
        "print([name for name in ('tensorflow', 'rich', 'sklearn', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"
