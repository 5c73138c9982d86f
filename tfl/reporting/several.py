"""Several runs beside one another: which is better on the same test examples, and what is different about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl.bootstrap import with_intervals
from tfl.config import UserError, flat
from tfl.reporting import figures
from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Answer, Section, Table
from tfl.terminal import HEADLINES, TITLES, declared, duration, interval, number

BESIDE = ("macro_f1", "rmse")
"""What else stands in the table."""
MISSING = "–"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A run against the first one, on the same test examples."""

    value: float
    """In the metric that they are known by; above 0 is better."""
    low: float
    high: float


class Runs:
    """Runs that predict the same kind of thing, the first of which the others are held against."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.runs = [Evidence(directory) for directory in directories]
        kinds = {run.kind for run in self.runs}
        if len(kinds) > 1:
            raise UserError(f"report: runs of {' and '.join(sorted(kinds))} have no metric in common; name runs of one kind")
        names = [run.name for run in self.runs]
        clear = len(set(names)) == len(names)
        self.names = names if clear else [str(run.directory) for run in self.runs]
        self.metric = self.runs[0].headline
        self.differences = [None, *(difference(self.runs[0], run) for run in self.runs[1:])]

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Header and rows, a row for each run."""
        title = HEADLINES[self.metric]
        others = [name for name in BESIDE if all(name in run.metrics for run in self.runs)]
        measured = (f"test {title}", "95 %", "against the first", *(TITLES[name] for name in others))
        header = ("run", *measured, "backbone", "phases", "trained", "time")
        return header, [self._row(place, others) for place in range(len(self.runs))]

    def _row(self, place: int, others: Sequence[str]) -> tuple[str, ...]:
        run, gap = self.runs[place], self.differences[place]
        found = run.metrics.get(self.metric)
        against = MISSING if gap is None else f"{gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})"
        return (
            self.names[place],
            number(found["value"]) if found else MISSING,
            interval(found) if found else MISSING,
            against,
            *(number(run.metrics[name]["value"]) for name in others),
            run.report.backbone.get("name", "?") + (" from scratch" if _from_scratch(run) else ""),
            ", ".join(declared(phase.trainable) for phase in run.report.phases),
            f"{max((phase.trainable_parameters for phase in run.report.phases), default=0):,}",
            duration(sum(run.report.seconds.values())),
        )

    def sentences(self) -> list[str]:
        """What the differences show, a sentence for each run but the first."""
        return [self._said(place) for place in range(1, len(self.runs))]

    def _said(self, place: int) -> str:
        name, first, gap = self.names[place], self.names[0], self.differences[place]
        if gap is None:
            return f"{name} and {first} were not tested on the same examples, so that their results cannot be held together."
        bounds = f"{gap.value:+.3f}, 95 % interval {gap.low:+.3f} to {gap.high:+.3f}"
        if gap.low > 0:
            return f"{name} is better than {first}: {bounds}."
        if gap.high < 0:
            return f"{name} is worse than {first}: {bounds}."
        return f"{name} and {first} differ by no more than this data can show: {bounds}."

    def answer(self) -> Answer:
        """What stands at the top of the page."""
        title = HEADLINES[self.metric]
        found = [
            (run.metrics[self.metric], name)
            for run, name in zip(self.runs, self.names, strict=True)
            if self.metric in run.metrics
        ]
        best = (min if self.metric == "mae" else max)((one["value"] for one, _ in found), default=None)
        first = [name for one, name in found if one["value"] == best]
        most = f"{' and '.join(first)} {'has' if len(first) == 1 else 'have'} the best test {title}: {number(best)}."
        gaps = [gap for gap in self.differences if gap is not None]
        shown = any(gap.low > 0 or gap.high < 0 for gap in gaps)
        rows = [figures.Standing(name, **one, own=name in first) for one, name in found]
        note = (
            "Intervals are those of the choice of test examples. Each run is one seed; what another would change is not "
            "in them; tfl compare measures that."
        )
        return Answer(
            state="no difference",  # (nothing good or bad: a quiet colour)
            badge="a difference is shown" if shown else "no difference shown",
            headline=most if found else "No run has a test example.",
            sentences=self.sentences(),
            about=(note,),
            picture=figures.standing(rows, title) if rows else None,
        )

    def sections(self) -> list[Section]:
        """The table, the curves, the classes, and what is different in the configs."""
        header, rows = self.table()
        found = [Section(name="runs", title="The runs", tables=(Table(header=header, rows=rows),), wide=True)]
        curve = figures.together([(name, run.report.phases) for name, run in zip(self.names, self.runs, strict=True)])
        if curve is not None:
            found.append(Section(name="curves", title="Learning curves", pictures=(curve,)))
        if self.metric == "accuracy" and len({tuple(run.classes) for run in self.runs}) == 1:
            found.append(self._classes())
        changed = [(key, *values) for key, values in differing([run.report.config for run in self.runs]).items()]
        if changed:
            table = Table(header=("key", *self.names), rows=changed)
            found.append(Section(name="config", title="What is different in their configs", tables=(table,), wide=True))
        return found

    def _classes(self) -> Section:
        each = zip(*(run.metrics["per_class"] for run in self.runs), strict=True)
        rows = [
            (entries[0]["class"], f"{entries[0]['support']:,}", *(number(one["f1"], 2) for one in entries)) for entries in each
        ]
        table = Table(header=("class", "examples", *self.names), rows=rows, caption="F1")
        return Section(name="classes", title="Class by class", tables=(table,))


def difference(first: Evidence, other: Evidence) -> Difference | None:
    """By how much `other` is better than `first` on the test examples of both; None where these are not the same."""
    tables = first.predictions, other.predictions
    if any(table is None or not len(table) for table in tables):
        return None
    one, two = tables
    assert one is not None
    assert two is not None
    if len(one) != len(two) or not (one["id"].equals(two["id"]) and one["label"].equals(two["label"])):
        return None
    if first.right is None or other.right is None:
        labels = one["label"].to_numpy(np.float64)
        errors = [np.abs(table["predicted"].to_numpy(np.float64) - labels) for table in (one, two)]
        values = errors[0] - errors[1]
    else:
        values = other.right.astype(np.float64) - first.right
    found = with_intervals(lambda weights: {"mean": values @ weights / weights.sum(axis=0)}, len(values), 0, 1000, 1)
    return Difference(**found["mean"])


def differing(configs: Sequence[Any]) -> dict[str, list[str]]:
    """The keys, dotted, whose values are not the same in all `configs`, and the values."""
    found = [{key: "null" if value is None else str(value) for key, value in flat(config).items()} for config in configs]
    keys = list(dict.fromkeys(key for one in found for key in one))
    values = {key: [one.get(key, MISSING) for one in found] for key in keys}
    return {key: own for key, own in values.items() if len(set(own)) > 1}


def _from_scratch(run: Evidence) -> bool:
    return bool(run.report.config.get("backbone", {}).get("weights") == "none")
