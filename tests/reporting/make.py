"""Directories of runs and comparisons as tfl leaves them, made without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.test_report import phase, report
from tfl.data import kept
from tfl.data.examples import Columns, digest, digests, strings
from tfl.evaluate import evaluate
from tfl.predict import table
from tfl.tasks.classification import Classification
from tfl.tasks.multilabel import MultiLabel
from tfl.tasks.regression import Regression

FINGERPRINT = "ab12"
NAMES = ("ants", "bees")


def images(folder: Path, count: int, size: int = 96) -> Columns:
    """Image files in `folder`, of one grey each: number 3 has the level 30."""
    from PIL import Image

    folder.mkdir(exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.new("RGB", (size, size * 2 // 3), (10 * number % 256,) * 3).save(path)
    hashed = digests(digest(path.read_bytes()) for path in paths)
    return Columns(ids=strings(path.name for path in paths), inputs={"path": strings(paths)}, labels=None, digests=hashed)


def texts(lines: list[str]) -> Columns:
    ids = strings(f"calls.csv:{number}" for number in range(len(lines)))
    hashed = digests(digest(line.encode()) for line in lines)
    return Columns(ids=ids, inputs={"text": strings(lines)}, labels=None, digests=hashed)


def epochs(count: int = 3) -> tuple[dict[str, float], ...]:
    return tuple(
        {"epoch": n, "loss": 1 / n, "val_loss": 1.1 / n, "accuracy": 1 - 0.3 / n, "val_accuracy": 1 - 0.4 / n}
        for n in range(1, count + 1)
    )


def run(
    folder: Path,
    labels: Any,
    predictions: Any,
    names: tuple[str, ...] = NAMES,
    examples: Columns | None = None,
    kind: str = "classification",
    counts: dict[str, int] | None = None,
    **fields: Any,
) -> Path:
    """The directory of a finished run that predicted `predictions` for test examples with `labels`."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, predictions = np.asarray(labels), np.asarray(predictions, np.float64)
    task = {
        "classification": lambda: Classification(class_names=names),
        "multilabel": lambda: MultiLabel(class_names=names),
        "regression": lambda: Regression(),
    }[kind]()
    ids = examples.ids if examples is not None else [f"{place:03}.jpg" for place in range(len(labels))]
    table(task, predictions, ids, labels).to_csv(folder / "predictions.csv", index=False)
    if examples is not None:
        kept.keep(examples, folder / "examples.tfrecord")
    metrics = evaluate(kind, labels, predictions, names, resamples=200)
    data = {"fingerprint": FINGERPRINT, "sizes": {"train": 100, "test": len(labels)}, "class_counts": {"train": counts or {}}}
    config = {
        "method": "finetune",
        "data": {"source": "folder", "path": "photos"},
        "backbone": {"name": "mobilenet_v2", "weights": "pretrained"},
    }
    values = {"data": data, "config": config, "phases": (phase(epochs=epochs()), phase(epochs=epochs(), trainable={"last": 4}))}
    report(**{**values, "metrics": {"label": {"test": metrics, "validation": metrics}}, **fields}).save(folder / "report.json")
    (folder / "config.yaml").write_text("method: finetune\n")
    return folder


def two_classes(right: int, wrong: int, sure: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of examples in turns of two classes, of which the first `right` are predicted right."""
    labels = np.arange(right + wrong) % 2
    said = np.where(np.arange(len(labels)) < right, labels, 1 - labels)
    probabilities = np.full((len(labels), 2), 1 - sure)
    probabilities[np.arange(len(labels)), said] = sure
    return labels, probabilities


def effect(method: str, verdict: str, value: float = 0.2, **fields: Any) -> dict[str, Any]:
    shown = {"measure": "end", "labels": "all", "primary": True, "transfer": 0.7 + value, "scratch": 0.7, "value": value}
    bounds = {"low": value - 0.05, "high": value + 0.05, "decided": [value - 0.05, value + 0.05]}
    said = {"p": 0.01, "adjusted_p": 0.01, "verdict": verdict, "advice": "" if verdict == "helped" else "look at the cost"}
    return {"method": method, **shown, **bounds, **said, **fields}


def comparison(folder: Path, *effects: dict[str, Any], fingerprint: str = FINGERPRINT) -> Path:
    """The compare.json of a comparison of the backbone of `run`, as far as the page of a run reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ["scratch", *dict.fromkeys(one["method"] for one in effects)]
    found = {
        "config": {"backbone": {"name": "mobilenet_v2", "weights": "pretrained"}},
        "data": {"fingerprint": fingerprint},
        "effects": list(effects),
        "methods": [{"method": name, "labels": "all", "end": {"value": 0.8, "low": 0.7, "high": 0.9}} for name in names],
        "trials": [{"right": [1, 0, 1]}],
        "seeds": [0, 1, 2],
        "updates": 200,
        "budget": None,
    }
    (folder / "compare.json").write_text(json.dumps(found))
    return folder


def frame(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "predictions.csv")
