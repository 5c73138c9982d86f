"""What the directory of a run holds for its page."""

from __future__ import annotations

import json
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.directory import CONFIG, EXAMPLES, PREDICTIONS, REPORT
from tfl.lazy import pd
from tfl.report import Report

COMPARISON = "compare.json"
"""What `tfl compare` leaves in its directory."""
AUDIT = "audit.json"


class Evidence:
    """A finished run as its files tell it; they are read when they are asked for. The model itself is not."""

    def __init__(self, directory: Path) -> None:
        if not (directory / REPORT).is_file() and (directory / COMPARISON).is_file():
            raise UserError(f"{directory}: a comparison; `tfl report {directory}` shows it, by itself")
        if not (directory / REPORT).is_file():
            raise UserError(f"{directory}: not the directory of a finished run or comparison (no {REPORT}, no {COMPARISON})")
        self.directory, self.report = directory, Report.load(directory / REPORT)

    @property
    def name(self) -> str:
        """The directory's own name."""
        return self.directory.resolve().name

    @property
    def metrics(self) -> dict[str, Any]:
        """Of the task's test split; empty where there is none."""
        return next((splits["test"] for splits in self.report.metrics.values() if "test" in splits), {})

    @property
    def kind(self) -> str:
        """classification | multilabel | regression"""
        if "mae" in self.metrics:
            return "regression"
        return "multilabel" if "label_accuracy" in self.metrics else "classification"

    @property
    def headline(self) -> str:
        """The metric that the run is known by."""
        return "mae" if self.kind == "regression" else "accuracy"

    @property
    def classes(self) -> list[str]:
        """The names of the classes; none for a regression."""
        return [row["class"] for row in self.metrics.get("per_class", ())]

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """The test split as `predictions.csv` has it, without each class's probability where one alone is predicted."""
        file = self.directory / PREDICTIONS
        if not file.is_file():
            return None
        words = ("id", "label", "predicted") if self.kind != "regression" else ("id",)
        wanted = None if self.kind == "multilabel" else lambda name: name in ("id", "label", "predicted", "probability")
        return pd.read_csv(file, dtype=dict.fromkeys(words, str), keep_default_na=False, usecols=wanted)

    @cached_property
    def right(self) -> np.ndarray | None:
        """[N] bool: whether each test example was predicted right; None without predictions, or for a regression."""
        table = self.predictions
        if table is None or self.kind == "regression":
            return None
        return (table["label"] == table["predicted"]).to_numpy()

    def examples(self, places: Collection[int]) -> dict[int, dict[str, Any]]:
        """The test examples at `places`, as `tfl.data.kept` has them; none where they are not kept."""
        from tfl.data import kept

        file = self.directory / EXAMPLES
        if not places or not file.is_file():
            return {}
        return dict(kept.at(file, places))

    @cached_property
    def config(self) -> str:
        """The resolved config as it stands in the directory."""
        file = self.directory / CONFIG
        return file.read_text(encoding="utf-8") if file.is_file() else ""

    @cached_property
    def audit(self) -> dict[str, Any]:
        """What an audit of the run found; empty where there was none."""
        found = _json(self.directory / AUDIT)
        return found if isinstance(found, dict) else {}

    @cached_property
    def comparison(self) -> tuple[Path, dict[str, Any]] | None:
        """The comparison with training from scratch that was made of the same data and backbone, and where it is: in this
        directory, or else the newest beside it.
        """
        beside = self.directory.resolve().parent.glob(f"*/{COMPARISON}")
        newest = sorted(beside, key=lambda file: file.stat().st_mtime, reverse=True)
        for file in (*self.directory.glob(f"*/{COMPARISON}"), *newest):
            found = _json(file)
            if isinstance(found, dict) and self._is_of_this(found):
                return file.parent, found
        return None

    def _is_of_this(self, comparison: dict[str, Any]) -> bool:
        same_data = comparison.get("data", {}).get("fingerprint") == self.report.data.get("fingerprint")
        return same_data and comparison.get("config", {}).get("backbone") == self.report.config.get("backbone")


def _json(file: Path) -> Any:
    """What stands in `file`; None where there is none, or it is broken."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
