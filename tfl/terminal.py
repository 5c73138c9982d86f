"""A report for the terminal: the answer first, readable in 80 columns and without colour."""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from tfl.report import Report

HEADLINES = {"accuracy": "accuracy", "mae": "mean absolute error"}
"""The metric that stands in the first line, the first of these that there is."""

TITLES = {
    "accuracy": "accuracy",
    "label_accuracy": "accuracy of single labels",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log-loss",
    "auroc": "AUROC",
    "expected_calibration_error": "calibration error",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "spearman": "Spearman's rank correlation",
}
"""Metrics as they are called in the terminal."""

SHOWN = 20
"""Classes in a table; where there are more, those of the lowest F1 are shown."""


WIDE = 4096
"""Columns of a console that is a file or a pipe: a path is one word there, to be found by the next program."""


def console() -> Console:
    """Standard output: as wide as the terminal, or so wide that nothing wraps where it is none."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE)


def summary(report: Report) -> RenderableType:
    """The report for the terminal, the answer first."""
    from rich.console import Group

    lines: list[Any] = []
    for title, metrics in _judged(report):
        lines += [_text(_headline(title, metrics), "bold"), metrics_table(metrics, headline=False), _text("")]
    if report.folds:
        lines += [_text(line) for line in _folds(report.folds)] + [_text("")]
    lines += [_text(line) for line in _trained(report)]
    lines += [_text(f"warning: {line}", "yellow") for line in warned(report)]
    if report.seconds:
        stages = ", ".join(f"{name} {duration(seconds)}" for name, seconds in report.seconds.items())
        lines.append(_text(f"time: {stages}; together {duration(sum(report.seconds.values()))}"))
    return Group(*lines)


def headline(report: Report) -> str:
    """The answer in a line: `test accuracy 0.874 (95 % interval 0.82–0.92, 153 examples)`, of each task."""
    return "; ".join(_headline(title, metrics) for title, metrics in _judged(report))


def plain(shown: RenderableType, width: int = 100) -> str:
    """What the terminal shows of `shown`, as text without colours, `width` columns wide."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(shown)
    return out.getvalue().rstrip()


def _judged(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The test metrics of each task (or those of the split that there is), and what they are of."""
    for task, splits in report.metrics.items():
        split = "test" if "test" in splits else next(iter(splits), None)
        if split is not None:
            yield f"{task}: {split}" if len(report.metrics) > 1 else split, splits[split]


def metrics_table(metrics: Mapping[str, Any], headline: bool = True) -> RenderableType:
    """The metrics of one split (or `{task: metrics}`) with their intervals, and per class, for the terminal."""
    from rich.console import Group

    if "examples" not in metrics:
        return Group(*(part for name, one in metrics.items() for part in (_text(name, "bold"), metrics_table(one))))
    parts: list[Any] = [_text(_headline("", metrics), "bold")] if headline else []
    shown = next((name for name in HEADLINES if name in metrics), None)
    found = [(name, metrics[name]) for name in TITLES if name in metrics and name != shown]
    rows = [(TITLES[name], number(one["value"]), interval(one)) for name, one in found]
    if rows:
        parts.append(_text(""))
        parts.append(table(("metric", "value", "95 % interval"), rows))
    classes = sorted(metrics.get("per_class", ()), key=lambda row: -1.0 if row["f1"] is None else row["f1"])
    if len(classes) > SHOWN:
        parts.append(_text(f"\nthe {SHOWN} of {len(classes)} classes with the lowest F1:"))
    else:
        classes = metrics.get("per_class", ())
    cells = [
        (row["class"], f"{row['support']:,}", *(number(row[key], 2) for key in ("precision", "recall", "f1")))
        for row in classes[:SHOWN]
    ]
    if cells:
        parts.append(_text(""))
        parts.append(table(("class", "examples", "precision", "recall", "F1"), cells))
    return Group(*parts)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A plain table: the first column to the left, numbers to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, title in enumerate(header):
        table.add_column(title, justify="right" if place else "left", overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(content: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(content, style=style)  # not markup: the name of a class may hold brackets


def _headline(what: str, metrics: Mapping[str, Any]) -> str:
    """`test accuracy 0.874 (95 % interval 0.82–0.92, 153 examples)`."""
    count = metrics.get("examples", 0)
    examples = f"{count:,} example{'' if count == 1 else 's'}"
    name = next((name for name in HEADLINES if name in metrics), None)
    if name is None:
        return f"{what} {examples}".strip()
    one = metrics[name]
    return f"{what} {HEADLINES[name]} {number(one['value'])} (95 % interval {interval(one, 2)}, {examples})".strip()


def _folds(folds: Mapping[str, Any]) -> Iterator[str]:
    for name, one in folds["metrics"].items():
        told = "no interval" if one["low"] is None else f"95 % interval {interval(one, 2)}"
        yield f"{folds_in(folds)}-fold {fold_title(folds, name)}: mean {number(one['mean'])} ({told})"


def fold_title(folds: Mapping[str, Any], name: str) -> str:
    """What a metric of folds is called: `accuracy`; where not every fold defines it, `AUROC, defined in 2 of 3 folds`."""
    there, count = len(folds["metrics"][name]["values"]), folds_in(folds)
    return TITLES.get(name, name) + (f", defined in {there} of {count} folds" if there < count else "")


def folds_in(folds: Mapping[str, Any]) -> int:
    """How many folds a report is of; a metric that some of them do not define has fewer values."""
    return max((len(one["values"]) for one in folds["metrics"].values()), default=0)


def _trained(report: Report) -> Iterator[str]:
    """What each phase trained, and what moved."""
    name, origin = report.backbone.get("name", "?"), report.backbone.get("origin")
    yield f"backbone: {name}, {report.backbone.get('parameters', 0):,} parameters" + (f", {origin}" if origin else "")
    sizes = report.data.get("sizes", {})
    yield "data: " + ", ".join(f"{split} {size:,}" for split, size in sizes.items())
    for number, phase in enumerate(report.phases, 1):
        last = len(phase.epochs)
        kept = "" if phase.kept_epoch == last else f", the weights of epoch {phase.kept_epoch} kept"
        ended = "" if phase.stopped == "completed" else f" ({phase.stopped})"
        epochs = f"{last} epoch{'' if last == 1 else 's'}{kept}{ended}"
        yield f"phase {number}, {declared(phase.trainable)}: {epochs}, {duration(phase.seconds)}"
        total = phase.trainable_parameters + phase.frozen_parameters
        moved, still = phase.moved.changed, len(phase.moved.still)
        yield f"  trained {phase.trainable_parameters:,} of {total:,} parameters: {blocks_in_words(phase.blocks)}"
        frozen = f"all {phase.moved.frozen:,} frozen variables unchanged" if phase.moved.frozen else "none was frozen"
        yield f"  moved {moved:,} of {moved + still:,} trainable variables; {frozen}"
        waiting = f", {phase.waiting:.0%} of the time waiting for data" if (phase.waiting or 0) >= 0.05 else ""
        yield f"  {phase.examples_per_second or 0:,.0f} examples/s{waiting}"


def declared(trainable: Any) -> str:
    """What a phase declares trainable, from how a report has it: `head`, `last 2`."""
    if isinstance(trainable, Mapping):
        return ", ".join(f"{key} {value}" for key, value in trainable.items())
    return str(trainable)


def blocks_in_words(blocks: Sequence[str]) -> str:
    """What trained: `head`, `head and conv5`, or how many blocks from where to where."""
    if len(blocks) > 3:
        return f"head and {len(blocks)} blocks, {blocks[0]} to {blocks[-1]}"
    return " and ".join(["head", ", ".join(blocks)]) if blocks else "head"


def warned(report: Report) -> Iterator[str]:
    """What a reader of the result has to know of the run, a line each."""
    for number, phase in enumerate(report.phases, 1):
        if phase.moved.still:
            yield f"phase {number}: {_some(phase.moved.still)} declared trainable but did not move"
    duplicates = [f"{one} ({split}) = {other} ({of})" for one, split, other, of in report.data.get("duplicates", ())]
    if duplicates:
        yield f"the same example in two splits, {len(duplicates):,} in all: {_some(duplicates)}"
    parted = [f"{group} ({split} and {of})" for group, split, of in report.data.get("parted_groups", ())]
    if parted:
        yield f"the same group in two splits, {len(parted):,} in all: {_some(parted)}"
    differing = [f"{one} = {other}" for one, other in report.data.get("contradictions", ())]
    if differing:
        yield f"the same content with different labels, {len(differing):,} in all: {_some(differing)}"
    left_out = [f"{count:,} {kind}" for kind, count in report.data.get("left_out", {}).items()]
    if left_out:
        yield f"images of formats that are not read, left out: {_some(left_out)}"
    unreadable = [f"{bad['id']}: {bad['reason']}" for bad in report.data.get("unreadable", ())]
    if unreadable:
        yield f"{len(unreadable):,} unreadable skipped: {_some(unreadable)}"
    if report.backbone.get("missing") and report.config.get("backbone", {}).get("weights") != "none":
        yield f"layers without loaded weights: {_some(report.backbone['missing'])}"


def _some(items: Sequence[str], most: int = 3) -> str:
    return "; ".join(items[:most]) + (f"; … and {len(items) - most:,} more" if len(items) > most else "")


def number(value: float | None, digits: int = 3) -> str:
    """To `digits` decimals; large and tiny ones to as many significant figures."""
    if value is None or not math.isfinite(value):
        return "–"
    fits = value == 0 or 10**-digits <= abs(value) < 1000
    return f"{value:.{digits}f}" if fits else f"{value:.{digits + 1}g}"


def interval(one: Mapping[str, Any], digits: int = 3) -> str:
    """`0.82–0.92`, of a metric with `low` and `high`; a dash where both are not defined."""
    low, high = number(one.get("low"), digits), number(one.get("high"), digits)
    if low == high == number(None):
        return low
    return f"{low} to {high}" if low.startswith("-") or high.startswith("-") else f"{low}–{high}"


def duration(seconds: float | None) -> str:
    """`8.4 s`, `1 min 31 s`, `2 h 05 min`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
