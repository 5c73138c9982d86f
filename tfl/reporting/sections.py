"""The sections of a run's page, in order. A new one is a function from the evidence to a `Section`, and its line in the table
`SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfl.reporting import audited, figures, mistakes
from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Section, Table
from tfl.terminal import TITLES, blocks_in_words, declared, duration, fold_title, folds_in, interval, number

CLASSES = 60
"""Classes in a table; where there are more, those of the lowest F1 are shown."""
CONFUSED = 8
"""Pairs of classes that are named beside a confusion matrix of more than two."""


def metrics(run: Evidence) -> Section:
    """Every metric of the test split, and of the validation split beside it."""
    splits: Mapping[str, Any] = next(iter(run.report.metrics.values()), {})
    test, other = splits.get("test", {}), splits.get("validation", {})
    rows = []
    for name, title in TITLES.items():
        if name in test:
            value = number(other[name]["value"]) if name in other else "–"
            rows.append((title, number(test[name]["value"]), interval(test[name]), value))
    tables = [Table(header=("metric", "test", "95 % interval", "validation"), rows=rows)]
    if run.report.folds:
        folds = run.report.folds["metrics"].items()
        cells = [(fold_title(run.report.folds, name), number(one["mean"]), interval(one)) for name, one in folds]
        caption = f"{folds_in(run.report.folds)}-fold cross-validation"
        tables.append(Table(header=("metric", "mean", "95 % interval"), rows=cells, caption=caption))
    told = "Intervals are those of the choice of test examples; what another seed of training would change is not in them."
    return Section(name="metrics", title="All metrics", sentences=(told,), tables=tables)


def curves(run: Evidence) -> Section | None:
    """How training went, epoch by epoch."""
    pictures = figures.curves(run.report.phases)
    return Section(name="curves", title="Learning curves", pictures=pictures, wide=True) if pictures else None


def confusion(run: Evidence) -> Section | None:
    """What was taken for what; of a regression, predictions against labels."""
    table = run.predictions
    if run.kind == "regression":
        if table is None or not len(table):
            return None
        picture = figures.scatter(table["label"].to_numpy(np.float64), table["predicted"].to_numpy(np.float64))
        return Section(name="confusion", title="Predictions against labels", pictures=(picture,))
    if run.kind != "classification" or not run.classes:
        return None
    matrix = np.asarray(run.metrics["confusion_matrix"])
    off = matrix * (1 - np.eye(len(matrix), dtype=int))
    order = [divmod(int(place), len(off)) for place in np.argsort(-off, axis=None, kind="stable")[:CONFUSED]]
    rows = [(run.classes[one], run.classes[other], f"{off[one, other]:,}") for one, other in order if off[one, other]]
    pairs = Table(header=("label", "predicted as", "times"), rows=rows, caption="Most often confused")
    picture = figures.confusion(matrix.tolist(), run.classes)
    tables = (pairs,) if rows and len(run.classes) > 2 else ()
    return Section(name="confusion", title="What is taken for what", pictures=(picture,), tables=tables)


def classes(run: Evidence) -> Section | None:
    """Precision, recall and F1 of each class."""
    found = list(run.metrics.get("per_class", ()))
    if not found:
        return None
    told: tuple[str, ...] = ()
    if len(found) > CLASSES:
        told = (f"The {CLASSES} of {len(found)} classes with the lowest F1.",)
        found = sorted(found, key=lambda row: -1.0 if row["f1"] is None else row["f1"])[:CLASSES]
    keys = ("precision", "recall", "f1")
    rows = [(row["class"], f"{row['support']:,}", *(number(row[key], 2) for key in keys)) for row in found]
    table = Table(header=("class", "examples", "precision", "recall", "F1"), rows=rows)
    return Section(name="classes", title="Class by class", sentences=told, tables=(table,))


def reliability(run: Evidence) -> Section | None:
    """Whether the model is as sure as it is right."""
    table = run.predictions
    if run.kind != "classification" or table is None or not len(table):
        return None
    assert run.right is not None
    error, sure = run.metrics["expected_calibration_error"], table["probability"].to_numpy(np.float64)
    told = (
        f"On average it is {sure.mean():.0%} sure, and {run.right.mean():.0%} of its predictions are right.",
        f"Bin by bin its confidence is off by {number(error['value'])} (calibration error, 95 % interval {interval(error)}). "
        "Below the line it is surer than it is right; large points are many examples.",
    )
    picture = figures.reliability(sure, run.right)
    return Section(name="reliability", title="Is it as sure as it is right?", sentences=told, pictures=(picture,))


def trained(run: Evidence) -> Section:
    """What each phase trained, and what moved."""
    rows = []
    for place, phase in enumerate(run.report.phases, 1):
        total = phase.trainable_parameters + phase.frozen_parameters
        rates = list(phase.learning_rates.values())
        ended = "" if phase.stopped == "completed" else f", {phase.stopped}"
        rows.append(
            (
                f"{place}, {': '.join(dict.fromkeys((declared(phase.trainable), blocks_in_words(phase.blocks))))}",
                f"{phase.trainable_parameters:,} of {total:,}",
                f"{len(phase.epochs)}, kept {phase.kept_epoch}{ended}",
                f"{max(rates):g}" if rates else "–",
                f"{phase.moved.changed} of {phase.moved.changed + len(phase.moved.still)}",
                f"{phase.moved.frozen}",
                duration(phase.seconds),
            )
        )
    header = ("phase", "parameters", "epochs", "learning rate", "moved", "frozen", "time")
    backbone = run.report.backbone
    told = f"{backbone.get('name', '?')}, {backbone.get('parameters', 0):,} parameters"
    told += f", weights: {backbone['origin']}." if backbone.get("origin") else "."
    held = "Every variable was compared with its state before: of those that train so many moved, and no frozen one did."
    return Section(
        name="trained", title="What trained", sentences=(told, held), tables=(Table(header=header, rows=rows),), wide=True
    )


def data(run: Evidence) -> Section:
    """What the data was."""
    found = run.report.data
    sizes, counts = found.get("sizes", {}), found.get("class_counts", {})
    rows = [("all", *(f"{sizes[split]:,}" for split in sizes))]
    names = list(dict.fromkeys(name for split in counts.values() for name in split))
    if len(names) <= CLASSES:
        rows += [(name, *(f"{counts.get(split, {}).get(name, 0):,}" for split in sizes)) for name in names]
    return Section(name="data", title="The data", tables=(Table(header=("class", *sizes), rows=rows),))


def cost(run: Evidence) -> Section | None:
    """How long each stage took."""
    seconds = run.report.seconds
    if not seconds:
        return None
    told = f"{duration(sum(seconds.values()))} in all."
    return Section(name="cost", title="What it cost", sentences=(told,), pictures=(figures.cost(seconds),))


def config(run: Evidence) -> Section:
    """The config that repeats the run, and what it ran on."""
    about = [*run.report.versions.items(), *run.report.hardware.items()]
    table = Table(header=("", ""), rows=[(str(name), str(value)) for name, value in about], caption="Ran on", words=True)
    return Section(name="config", title="Config", listing=run.config, tables=(table,) if about else (), folded=True)


SECTIONS: tuple[Callable[[Evidence], Section | None], ...] = (
    curves,
    confusion,
    classes,
    mistakes.section,
    reliability,
    metrics,
    audited.findings,
    audited.slices,
    audited.measured,
    trained,
    cost,
    data,
    config,
)
"""The page of a run from top to bottom; a function that has nothing to show gives None."""


def of(run: Evidence) -> Iterator[Section]:
    """The sections of `run`."""
    for make in SECTIONS:
        section = make(run)
        if section is not None:
            yield section
