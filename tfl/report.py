"""What a run leaves in `report.json`: the record of what was trained, on what, with what result and at what cost.

The format is described field by field in docs/report.md; `SCHEMA` counts its versions.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfl.config import UserError, plain
from tfl.whole import write_text

SCHEMA = 1
"""Version of the format; it rises when a field changes its meaning or goes. New fields alone do not raise it."""


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What a phase changed, found by comparing every variable with its state before."""

    changed: int
    """Trainable variables that changed."""
    frozen: int
    """Frozen variables, BatchNorm statistics included; all are bit-identical to before, or the run has failed."""
    still: tuple[str, ...] = ()
    """Paths of the trainable variables that did not change."""


@dataclass(frozen=True, kw_only=True)
class PhaseReport:
    """One phase of training."""

    trainable: Any
    """What was declared trainable, as in the config: a word, a pattern, {"last": N} or {"lora": RANK}."""
    blocks: tuple[str, ...]
    """Names of the backbone's blocks that trained, input to output; empty where only the head did."""
    trainable_parameters: int
    """Numbers in the variables that trained, head included."""
    frozen_parameters: int
    """Numbers in all other variables."""
    learning_rates: dict[str, float]
    """Peak learning rate of each group of variables."""
    epochs: tuple[dict[str, Any], ...]
    """One entry an epoch: "epoch" (from 1), "loss", "val_loss", metrics by name, "seconds"."""
    kept_epoch: int
    """The epoch, from 1, whose weights the phase ended with."""
    stopped: str
    """Why it ended: "completed" | "early stopping" | "interrupted"."""
    seconds: float
    """Wall time of the phase."""
    examples_per_second: float
    """Training examples a second, without validation."""
    waiting: float
    """Part of the training time, 0 to 1, that was spent waiting for data."""
    moved: Moved
    """What changed and what did not."""
    padding: float | None = None
    """Share of the tokens of a training epoch, 0 to 1, that is padding; null for images."""
    features: dict[str, Any] = field(default_factory=dict)
    """Of what was frozen: stored (the last block whose activations the store has, or null), engine, views, rows computed
    and read, bytes written, seconds, and where pooled features are stored; why, where nothing is."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole run."""

    method: str
    """How was transferred: "finetune", …"""
    config: dict[str, Any]
    """The resolved config; it reproduces the run."""
    data: dict[str, Any]
    """Fingerprint, sizes {split: N}, class_counts {split: {class: N}}, unreadable [{"id", "reason"}], duplicates
    [[id, split, id, split]], contradictions [[id, id]] (one content, two labels), and left_out {suffix: N}."""
    backbone: dict[str, Any]
    """Its name and parameters, and of its weights: origin, sha256, and the layers loaded, missing and unused."""
    phases: tuple[PhaseReport, ...]
    """The phases in order."""
    metrics: dict[str, dict[str, dict[str, Any]]]
    """{task: {split: metrics}}; the metrics are those of `tfl.evaluate.evaluate`."""
    folds: dict[str, Any] | None = None
    """Of cross-validation: {"metrics": {name: {"mean", "low", "high", "values"}}}; null without."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time by stage: "data", "weights", "training", "evaluation", and "folds" where there are some."""
    versions: dict[str, str] = field(default_factory=dict)
    """Releases of Python and of the libraries that can change a value."""
    hardware: dict[str, Any] = field(default_factory=dict)
    """What the run ran on."""
    schema: int = SCHEMA
    """Version of this format."""

    @property
    def interrupted(self) -> bool:
        """Whether training was ended by Ctrl-C: within a phase, or before one could begin."""
        ended = any(phase.stopped == "interrupted" for phase in self.phases)
        return ended or len(self.phases) < len(self.config.get("phases") or ())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report as JSON. A number that is not finite becomes null; the file is whole or not there."""
        write_text(Path(path), json.dumps(_finite(plain(self)), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """The report in the file `path`. Raises `UserError` where there is none, or a newer tfl wrote it."""
        try:
            raw = json.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such report; `tfl train` writes report.json into the run's directory") from error
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a report of tfl: {error}") from error
        schema = raw.get("schema") if isinstance(raw, dict) else None
        if not isinstance(schema, int):
            raise UserError(f"{path}: not a report of tfl: it has no schema number")
        if schema > SCHEMA:
            raise UserError(f"{path}: written by a newer tfl (schema {schema}, this tfl reads up to {SCHEMA}); update tfl")
        try:
            return _make(cls, raw, phases=tuple(map(phase_report, raw["phases"])))
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: not a whole report of tfl: {error}") from error


def phase_report(raw: Mapping[str, Any]) -> PhaseReport:
    """The report of a phase from what `plain` made of one. Raises `KeyError` or `TypeError` where it is something else."""
    moved = _make(Moved, raw["moved"], still=tuple(raw["moved"]["still"]))
    made: PhaseReport = _make(PhaseReport, raw, blocks=tuple(raw["blocks"]), epochs=tuple(raw["epochs"]), moved=moved)
    return made


def _make(kind: Any, raw: Mapping[str, Any], **made: Any) -> Any:
    """`kind` from the entries of `raw` that it knows (a later tfl of the same schema may add some) and `made`."""
    names = {item.name for item in dataclasses.fields(kind)}
    return kind(**{name: value for name, value in raw.items() if name in names} | made)


def _finite(value: Any) -> Any:
    """`value` with NumPy's numbers as Python's, and None for those that are not finite, which JSON cannot hold."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
