"""What a report says of the data, the phases, the releases and the machine of a run."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from tfl import models
from tfl.config import plain
from tfl.data.examples import Columns
from tfl.data.labels import MANY
from tfl.data.splits import Splits, listed_suffixes, shortened, summed
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
        "left_out": summed(splits.left_out),
        "duplicates": [list(pair) for pair in splits.duplicates],
        "parted_groups": [list(found) for found in splits.parted],
        "contradictions": [list(pair) for pair in splits.contradictions],
    }


def told_of_data(splits: Splits) -> Iterator[str]:
    """What the terminal says of the data, a line each."""
    yield f"data: {', '.join(f'{size} {name}' for name, size in splits.sizes.items())}"
    for name, counts in splits.class_counts.items():
        if counts and len(counts) <= 20:
            yield f"  {name}: {', '.join(f'{label} {count}' for label, count in counts.items())}"
    yield from _predicted(splits)
    for bad in splits.unreadable[:5]:
        yield f"  skipped {bad.id}: {bad.reason}"
    if len(splits.unreadable) > 5:
        yield f"  … and {len(splits.unreadable) - 5} more; report.json names them all"
    if splits.left_out:
        yield f"  left out: {listed_suffixes(splits.left_out)}; convert them to JPEG or PNG"
    yield from _missing(splits)
    yield from _copies(splits)
    yield from _parted(splits)


def _predicted(splits: Splits) -> Iterator[str]:
    """What a model of this data predicts, where it is not one class of several."""
    labels = [part.labels for part in splits.parts.values() if part.labels is not None]
    values: Any = np.concatenate(labels) if labels else np.empty(0)
    if splits.kind == "regression" and len(values):
        # Few whole numbers are a regression only where the config says so; a measure seldom has few distinct values.
        settable = isinstance(splits.train, Columns)  # records on disk have labels of a type
        doubtful = settable and bool(np.all(values % 1 == 0)) == (len(np.unique(values)) > MANY)
        hint = " (data.kind=classification if they are classes)" if doubtful else ""
        yield f"  regression: numbers from {values.min():g} to {values.max():g}{hint}"
    if splits.kind == "multilabel" and len(values):
        none = int(np.sum(~values.any(axis=1)))
        bare = f"; {none} examples have none" if none else ""
        yield f"  several labels an example: {values.sum(axis=1).mean():.1f} of {values.shape[1]} on average{bare}"
        if values.shape[1] > 1 and bool(np.all(values.sum(axis=1) == 1)):
            yield (
                f"  warning: every example has exactly one of the {values.shape[1]} labels; if they are classes, give one "
                "value an example, such as np.argmax(labels, axis=1)"
            )


def _missing(splits: Splits) -> Iterator[str]:
    """A warning for each split that lacks classes."""
    counts = splits.class_counts
    told = {"validation": "the choice of the epoch does not look at", "test": "the result says nothing about"}
    for name, what in told.items():
        lacking = [label for label, count in counts.get(name, {}).items() if count == 0]
        if lacking:
            yield f"  warning: no {name} example of {shortened(lacking)}: {what} {'it' if len(lacking) == 1 else 'them'}"


def _copies(splits: Splits) -> Iterator[str]:
    """Warnings of contents that are there twice: with two labels, or in two splits."""
    if splits.contradictions:
        one, other = splits.contradictions[0]
        yield (
            f"  warning: {_counted(len(splits.contradictions), 'has', 'have')} another's content and a different label, "
            f"the first {one} = {other}"
        )
    pairs = _alike(splits)
    if pairs:
        tested = [pair for pair in pairs if pair[3] == "test"]
        one, split, other, its = (tested or pairs)[0]
        share = "them" if len(tested) == len(pairs) else f"{len(tested)} of them"
        yield (
            f"  warning: {_counted(len(pairs), 'stands', 'stand')} in two splits, the first as {one} ({split}) and "
            f"{other} ({its})" + (f"; the test result is too good by {share}" if tested else "")
        )


def _alike(splits: Splits) -> list[tuple[str, str, str, str]]:
    """The duplicates of two splits but for those whose classes differ: no result is too good by them."""
    if splits.kind != "classification" or not splits.contradictions:
        return list(splits.duplicates)
    label = {
        (name, str(one)): value
        for name, part in splits.parts.items()
        if part.labels is not None
        for one, value in zip(part.ids, part.labels.tolist(), strict=True)
    }
    return [pair for pair in splits.duplicates if label.get((pair[1], pair[0])) == label.get((pair[3], pair[2]))]


def _parted(splits: Splits) -> Iterator[str]:
    """A warning of groups that the data itself puts into two splits."""
    if splits.parted:
        group, one, other = splits.parted[0]
        names = {name for name, *_ in splits.parted}
        tested = {name for name, *where in splits.parted if "test" in where}
        share = "them" if tested == names else f"{len(tested)} of them"
        stand = _counted(len(names), "stands", "stand", "group")
        good = f"; the test result is too good by {share}" if tested else ""
        yield f"  warning: {stand} in two splits, the first {group} ({one} and {other}){good}"


def _counted(count: int, one: str, several: str, what: str = "example") -> str:
    return f"1 {what} {one}" if count == 1 else f"{count} {what}s {several}"


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
    """The record of a whole run, whose `results` are `{task: {split: metrics}}`; `seconds`: of each stage in this process."""
    # Phases also count what other processes spent on them before they were broken off.
    seconds = {**seconds, "training": max(seconds.get("training", 0.0), sum(phase.seconds for phase in phases))}
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
