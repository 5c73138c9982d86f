"""One training of a comparison: a method, so many labels, a seed; what it came to, as it is kept on disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError, plain
from tfl.phases import Phase
from tfl.report import PhaseReport
from tfl.studies.compare.subsets import Labels
from tfl.whole import write_text


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What one training came to."""

    method: str
    labels: Labels
    seed: int
    examples: int
    """Trained on."""
    classes: int
    curve: dict[str, list[float]]
    """`updates`, `seconds` (without validation and building graphs), and `accuracy` and `loss` of the validation split,
    before the first update and from there on."""
    validation: int
    """Examples of the validation split."""
    right: list[int]
    """Of each test example, in order: 1 where it was predicted right by the kept weights, else 0."""
    updates: int
    passed: int
    """Examples that went through in training, each as often as it did."""
    seconds: float
    """Wall time of training, with features, validation and building graphs."""
    trained_parameters: int
    """Of the phase that trained most."""
    computed: int
    """Rows of frozen features that were not in the store yet."""
    phases: list[dict[str, Any]]
    fingerprint: str
    """Of the data and the weights."""

    @property
    def accuracy(self) -> float:
        """On the test split."""
        return float(np.mean(self.right))

    def write(self, folder: Path) -> None:
        """Writes it into `folder`, whole or not at all."""
        write_text(place(folder, self.method, self.labels, self.seed), json.dumps(plain(self)) + "\n")


def place(folder: Path, method: str, labels: Labels, seed: int) -> Path:
    """The file of a trial in `folder`."""
    return folder / f"{method}-{labels}-{seed}.json"


def read(file: Path, fingerprint: str, phases: Sequence[Phase]) -> Trial | None:
    """The trial in `file`; None where there is none that is whole. Raises `UserError` where it was made on other data or
    weights, or by another recipe than `phases`, which are those of its method before they are brought to the budget.
    """
    if not file.is_file():
        return None
    try:
        found = Trial(**json.loads(file.read_text(encoding="utf-8")))
    except ValueError:  # a power cut has taken it: it is trained again
        return None
    if found.fingerprint != fingerprint:
        raise UserError(f"out: {file} was trained on other data, or from other weights; restore them, or name another folder")
    if _recipe(found.phases) != _recipe(json.loads(json.dumps(plain(phases)))):
        raise UserError(f"out: {file} was trained by another recipe, as another version of tfl has it; name another folder")
    return found


def _recipe(phases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the budget leaves as it is."""
    budgeted = ("epochs", "validate_every", "schedule", "warmup")
    return [{name: value for name, value in phase.items() if name not in budgeted} for phase in phases]


def curve_of(
    before: dict[str, float], reports: Sequence[PhaseReport], steps: int, seconds: Sequence[float]
) -> dict[str, list[float]]:
    """The learning curve of the phases in `reports`, whose epochs have `steps` updates each and end after so many `seconds`;
    `before`: accuracy and loss before the first.
    """
    rows = [(0.0, 0.0, before["accuracy"], before["loss"])]
    epochs = [epoch for report in reports for epoch in report.epochs]
    for number, (epoch, taken) in enumerate(zip(epochs, seconds, strict=True), start=1):
        if "val_accuracy" in epoch:
            rows.append((float(number * steps), taken, epoch["val_accuracy"], epoch["val_loss"]))
    return dict(zip(("updates", "seconds", "accuracy", "loss"), map(list, zip(*rows, strict=True)), strict=True))


def cells(trial: Trial) -> dict[str, Any]:
    """What stands in the table of trials, a row each, beside the shape of the curve."""
    left_out = {"curve", "right", "phases", "fingerprint", "classes", "validation"}
    return {field.name: getattr(trial, field.name) for field in dataclasses.fields(trial) if field.name not in left_out}
