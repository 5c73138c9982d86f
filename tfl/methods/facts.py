"""What a report says of the data, the phases, the releases and the machine of a run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from tfl import models
from tfl.config import plain
from tfl.data import orientation
from tfl.data.examples import Columns
from tfl.data.splits import Splits
from tfl.features import engine
from tfl.features.extract import Extracted
from tfl.phases import Phase
from tfl.report import Moved, PhaseReport, Report

if TYPE_CHECKING:
    from tfl.training import Fit


def describe_data(splits: Splits) -> dict[str, Any]:
    """What a report says of the data."""
    return {
        "fingerprint": splits.fingerprint,
        "sizes": splits.sizes,
        "class_counts": splits.class_counts,
        "unreadable": [{"id": bad.id, "reason": bad.reason} for bad in splits.unreadable],
        "duplicates": [list(pair) for pair in splits.duplicates],
    }


def told_of_data(splits: Splits) -> Iterator[str]:
    """What the terminal says of the data, a line each."""
    yield f"data: {', '.join(f'{size} {name}' for name, size in splits.sizes.items())}"
    for name, counts in splits.class_counts.items():
        if counts and len(counts) <= 20:
            yield f"  {name}: {', '.join(f'{label} {count}' for label, count in counts.items())}"
    for bad in splits.unreadable[:5]:
        yield f"  skipped {bad.id}: {bad.reason}"
    if len(splits.unreadable) > 5:
        yield f"  … and {len(splits.unreadable) - 5} more; report.json names them all"
    if splits.duplicates:
        one, split, other, its = splits.duplicates[0]
        yield (
            f"  warning: {len(splits.duplicates)} examples stand in two splits, the first as {one} ({split}) and "
            f"{other} ({its}); the test result is too good by them"
        )
    files = [path for part in splits.parts.values() if isinstance(part, Columns) for path in part.inputs.get("path", ())]
    if turned := orientation.turned(files):
        yield (
            f"  warning: {turned} of {len(files)} files carry an EXIF orientation other than upright, which is not applied: "
            "they are seen as they are stored; turn them where that matters"
        )


def report_of(phase: Phase, backbone: Any, model: Any, fit: Fit, *, moved: Moved, extracted: Extracted) -> PhaseReport:
    """The record of a phase of `model`, whose variables are trainable as they were in it."""
    trained = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    stream: Any = extracted.streams["train"]
    return PhaseReport(
        trainable=plain(phase.trainable),
        blocks=tuple(backbone.trainable),
        trainable_parameters=trained,
        frozen_parameters=sum(int(np.prod(v.shape)) for v in models.variables(model)) - trained,
        learning_rates={group.name: phase.learning_rate * group.scale for group in models.groups(model, backbone, phase)},
        epochs=fit.epochs,
        kept_epoch=fit.kept_epoch,
        stopped=fit.stopped,
        seconds=fit.seconds,
        examples_per_second=fit.examples_per_second,
        waiting=fit.waiting,
        moved=moved,
        padding=stream.padding() if hasattr(stream, "padding") else None,
        features=dict(extracted.facts),
    )


def report_of_run(
    config: Any,
    splits: Splits,
    backbone: Any,
    phases: Sequence[PhaseReport],
    results: dict[str, Any],
    folds: dict[str, Any] | None,
    seconds: dict[str, float],
    strategy: Any,
) -> Report:
    """The record of a whole run, whose `results` are `{task: {split: metrics}}`."""
    return Report(
        method=config.method,
        config=plain(config),
        data=describe_data(splits),
        backbone={"name": backbone.name, "parameters": int(backbone.model.count_params()), **plain(backbone.weights)},
        phases=tuple(phases),
        metrics=results,
        folds=folds,
        seconds=seconds,
        versions=versions(),
        hardware=hardware(strategy),
    )


def versions() -> dict[str, str]:
    """The releases of everything that can change a value."""
    names = ["tfl", "tensorflow", "keras", "keras-hub", "tensorflow-text", "numpy"]
    names += ["openvino"] if engine.installed() else []
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(strategy: Any) -> dict[str, Any]:
    """What the run ran on."""
    import os

    from tfl.lazy import tf

    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
        "strategy": type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
    }
