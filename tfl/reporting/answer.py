"""What stands at the top of a run's page: whether the transfer helped, and what the model is worth against a baseline."""

from __future__ import annotations

import dataclasses
import os
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.bootstrap import with_intervals
from tfl.directory import CONFIG
from tfl.reporting import audited, figures, transfer
from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Answer
from tfl.terminal import HEADLINES, interval, number, warned

FEW = 10
"""Test examples below which no resample of them says how far to trust a difference."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What answering without looking comes to on the test split."""

    told: str
    value: float
    """In the metric that the run is known by."""
    better: dict[str, Any]
    """By how much the run is better: value, low and high of the paired difference."""


def answer(run: Evidence) -> Answer:
    """The answer of a finished run."""
    found = _transfer(run)
    metric = run.metrics.get(run.headline)
    if not metric or metric["value"] is None:
        return dataclasses.replace(
            found, about=("There is no test example, so that nothing is known of the model's worth.",), warnings=_warned(run)
        )
    reference = baseline(run)
    count = run.metrics["examples"]
    told = f"test {HEADLINES[run.headline]}, 95 % interval {interval(metric)}, {count:,} example{'' if count == 1 else 's'}"
    return dataclasses.replace(
        found,
        figure=number(metric["value"]),
        figure_told=told,
        about=(*(_against(reference, count) if reference else ()), *_compared(run)),
        picture=figures.standing(_rows(run, metric, reference), HEADLINES[run.headline]),
        warnings=_warned(run),
    )


def _transfer(run: Evidence) -> Answer:
    """Whether the transfer helped, as far as that is known."""
    config = run.report.config
    if config.get("backbone", {}).get("weights") == "none":
        return Answer(
            state="unknown",
            badge="from scratch",
            headline="Nothing was transferred: this model began from random weights.",
        )
    if run.comparison is not None:
        folder, found = run.comparison
        made = transfer.answer(found, own="config")
        place = os.path.relpath(folder.resolve(), run.directory.resolve())
        return dataclasses.replace(made, sentences=(*made.sentences, f"Measured by {transfer.basis(found)} (in {place})."))
    unknown = Answer(
        state="unknown", badge="not measured", headline="Whether the transfer helped is not known: nothing was compared."
    )
    if run.kind != "classification":
        what = "a regression" if run.kind == "regression" else "a multi-label task"
        said = (f"No training from scratch stands beside this run, and tfl compare cannot make one yet for {what}.",)
        return dataclasses.replace(unknown, sentences=said)
    if config.get("data", {}).get("source") == "memory":
        call = f'tfl.compare(data, backbone="{config["backbone"]["name"]}", out="{run.directory / "compare"}")'
        told = f"The data was given in Python. There, {call} compares it with the same network from random weights."
        return dataclasses.replace(unknown, sentences=(told,))
    command = shlex.join(["tfl", "compare", str(run.directory / CONFIG), "--out", str(run.directory / "compare")])
    return dataclasses.replace(
        unknown,
        sentences=("No training of the same network from random weights has been compared with it. This command does that:",),
        command=command,
        after="Then the answer stands here. It takes many trainings; --labels all --seeds 3 is shorter.",
    )


def baseline(run: Evidence) -> Baseline | None:
    """The majority class (of a regression: the median) as an answer to every test example; None where too little is kept."""
    table = run.predictions
    if table is None or not len(table):
        return None
    if run.kind == "regression":
        labels = table["label"].to_numpy(np.float64)
        middle = float(np.median(labels))
        errors, own = np.abs(labels - middle), np.abs(labels - table["predicted"].to_numpy(np.float64))
        told = f"always answering {number(middle)}, the median of the test labels,"
        return Baseline(told=told, value=float(errors.mean()), better=_mean(errors - own))
    counts = run.report.data.get("class_counts", {})
    train = counts.get("train") or counts.get("test") or dict(table["label"].value_counts())
    if run.kind == "multilabel":
        size = run.report.data.get("sizes", {}).get("train", 0)
        answered = ";".join(name for name in run.classes if 2 * train.get(name, 0) >= max(1, size))
        told = f"always answering {answered or 'no class at all'}, what most examples have,"
    else:
        answered = max(train, key=lambda name: train[name])
        told = f"always answering {answered}, the most frequent class in training,"
    always = (table["label"] == answered).to_numpy()
    assert run.right is not None
    return Baseline(told=told, value=float(always.mean()), better=_mean(run.right.astype(float) - always))


def _mean(values: np.ndarray) -> dict[str, Any]:
    """The mean of `values` [N], with the interval of a bootstrap over them."""
    found = with_intervals(lambda weights: {"mean": values @ weights / weights.sum(axis=0)}, len(values), 0, 1000, 1)
    return found["mean"]


def _against(reference: Baseline, count: int) -> tuple[str, ...]:
    better = reference.better
    told = f"{reference.told[0].upper()}{reference.told[1:]} reaches {number(reference.value)}."
    if count < FEW:
        return (
            told,
            f"{count} test examples are too few to tell whether the model is better than that; folds use all there are.",
        )
    gap = f"the difference is {better['value']:+.3f}, 95 % interval {better['low']:+.3f} to {better['high']:+.3f}"
    if better["low"] > 0:
        return told, f"The model is better than that: {gap}."
    if better["high"] < 0:
        return told, f"The model is worse than that: {gap}."
    return told, f"These examples do not show that the model is better than that: {gap}."


def _compared(run: Evidence) -> tuple[str, ...]:
    """What the picture calls compared."""
    if run.comparison is None:
        return ()
    return (
        "In the picture, what was compared are means over the comparison's seeds; its trainings have a budget of their own.",
    )


def _rows(run: Evidence, metric: dict[str, Any], reference: Baseline | None) -> list[figures.Standing]:
    """The run, what it stands against, and what a comparison reached."""
    rows = [figures.Standing("this run", metric["value"], metric["low"], metric["high"], own=True)]
    if run.comparison is not None and run.headline == "accuracy":
        for method, end in transfer.reached(run.comparison[1]):
            rows.append(figures.Standing(f"{method}, compared", end["value"], end["low"], end["high"]))
    if reference is not None:
        name = "median" if run.kind == "regression" else "majority class"
        rows.append(figures.Standing(name, reference.value, None, None))
    return rows


def _warned(run: Evidence) -> tuple[str, ...]:
    return (*(f"{line[0].upper()}{line[1:]}." for line in warned(run.report)), *audited.serious(run))
