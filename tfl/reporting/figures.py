"""The pictures of a page: what is drawn, and how it is scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfl.evaluate import BINS
from tfl.reporting.ink import Palette, Picture
from tfl.terminal import declared, duration, number

CELLS = 12
"""Classes up to which a confusion matrix has its counts written into it."""
NAMED = 30
"""Classes up to which its axes name them."""
POINTS = 2000
"""Of a scatter plot, at most: more of them are neither seen nor small to store."""


@dataclass(frozen=True)
class Standing:
    """A line of a picture of values: what it is, where it lies, and between which bounds."""

    title: str
    value: float
    low: float | None = None
    high: float | None = None
    own: bool = False


def standing(rows: Sequence[Standing], what: str, name: str = "standing") -> Picture:
    """Values beside one another, with their intervals."""

    def draw(axes: Any, palette: Palette) -> None:
        for place, row in enumerate(rows):
            color = palette.series[0] if row.own else palette.muted
            if row.low is not None and row.high is not None:
                axes.plot([row.low, row.high], [place, place], color=color, linewidth=3, alpha=0.45, solid_capstyle="butt")
            axes.plot([row.value], [place], "o" if row.own else "D", color=color, markersize=7 if row.own else 5)
            text = axes.annotate(number(row.value), (1.02, place), xycoords=("axes fraction", "data"), va="center")
            text.set_color(palette.ink)
        axes.set_yticks(range(len(rows)), [clipped(row.title, 18) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(what)
        highest = max(max(row.value, row.high or 0) for row in rows)
        axes.set_xlim((0, 1.02) if what == "accuracy" else (0, highest * 1.08 or 1))
        axes.tick_params(axis="y", length=0, labelcolor=palette.ink)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")

    told = "; ".join(f"{row.title} {number(row.value)}" for row in rows)
    return Picture(name=name, told=f"{what}: {told}", draw=draw, height=0.6 + 0.24 * len(rows))


def curves(phases: Sequence[Any]) -> list[Picture]:
    """The learning curves of a run: the loss, and the first of the other metrics that there is."""
    epochs = [epoch for phase in phases for epoch in phase.epochs]
    known = [key for epoch in epochs for key in epoch if key.startswith("val_") and key != "val_loss"]
    metrics = ["loss", *dict.fromkeys(key.removeprefix("val_") for key in known)][:2]
    return [_curve(phases, metric) for metric in metrics if any(metric in epoch for epoch in epochs)]


def _curve(phases: Sequence[Any], metric: str) -> Picture:
    def draw(axes: Any, palette: Palette) -> None:
        epochs = [epoch for phase in phases for epoch in phase.epochs]
        for key, title, color in ((metric, "training", palette.muted), (f"val_{metric}", "validation", palette.series[0])):
            found = [(place, epoch[key]) for place, epoch in enumerate(epochs, 1) if epoch.get(key) is not None]
            if found:
                axes.plot(*zip(*found, strict=True), color=color, label=title, marker="o", markersize=3)
        start = 0
        for phase in phases:
            if start:
                axes.axvline(start + 0.5, color=palette.muted, linewidth=0.7, linestyle=":")
            place = start + phase.kept_epoch
            kept = epochs[place - 1].get(f"val_{metric}") if start < place <= len(epochs) else None
            if kept is not None:
                ring = {"color": palette.series[1], "markersize": 7, "fillstyle": "none"}
                axes.plot([place], [kept], "o", label=None if start else "kept", **ring)
            if len(phases) > 1:
                middle = start + len(phase.epochs) / 2 + 0.5
                axes.annotate(
                    clipped(declared(phase.trainable), 14),
                    (middle, 1.0),
                    xycoords=("data", "axes fraction"),
                    ha="center",
                    va="bottom",
                ).set_color(palette.muted)
            start += len(phase.epochs)
        axes.set_xlim(0.5, max(1, len(epochs)) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.set_ylabel("mean absolute error" if metric == "mae" else metric)
        axes.grid()
        legend(axes)

    return Picture(name=f"curve-{metric}", told=f"{metric} of training and validation by epoch", draw=draw)


def together(runs: Sequence[tuple[str, Sequence[Any]]]) -> Picture | None:
    """The validation curves of several runs, by name; None where they have no metric in common."""
    series = [(name, [epoch for phase in phases for epoch in phase.epochs]) for name, phases in runs]
    metrics = [{key for epoch in epochs for key in epoch if key.startswith("val_")} for _, epochs in series]
    common = sorted(set.intersection(*metrics) if metrics else set(), key=lambda key: (key == "val_loss", key))
    if not common:
        return None

    def draw(axes: Any, palette: Palette) -> None:
        for place, (name, epochs) in enumerate(series):
            found = [(number, epoch[common[0]]) for number, epoch in enumerate(epochs, 1) if epoch.get(common[0]) is not None]
            style = {"color": palette.series[place % len(palette.series)], "marker": "o", "markersize": 3}
            axes.plot(*zip(*found, strict=True), label=clipped(name, 24), **style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(f"validation {common[0].removeprefix('val_')}")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid()
        legend(axes)

    return Picture(name="curves", told=f"{common[0].removeprefix('val_')} on the validation split by epoch", draw=draw)


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Picture:
    """A confusion matrix, rows the labels: the darker, the larger the share of its row."""
    cells = np.asarray(matrix, np.float64)
    share = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)

    def draw(axes: Any, palette: Palette) -> None:
        from matplotlib.colors import to_rgb

        from tfl.reporting.ink import FILE

        image = np.zeros((*share.shape, 4))
        image[..., :3] = to_rgb(FILE.series[0])  # one colour, more or less of it, on light and dark
        image[..., 3] = 0.75 * share
        axes.imshow(image, interpolation="none", aspect="equal")
        if len(cells) <= CELLS:
            for (row, column), count in np.ndenumerate(cells):
                axes.text(column, row, f"{count:.0f}", ha="center", va="center", color=palette.ink)
        if len(cells) <= NAMED:
            short = [clipped(name, 14) for name in names]
            axes.set_xticks(range(len(names)), short, rotation=0 if len(names) < 4 and max(map(len, short)) < 9 else 60)
            axes.set_yticks(range(len(names)), short)
        axes.set_xlabel("predicted")
        axes.set_ylabel("label")
        axes.tick_params(length=0, labelcolor=palette.ink)
        for side in axes.spines.values():
            side.set_visible(True)

    size = 2.2 + 0.1 * min(len(names), 16)
    return Picture(
        name="confusion", told="confusion matrix, labels against predictions", draw=draw, width=size + 0.6, height=size
    )


def reliability(confidence: np.ndarray, right: np.ndarray) -> Picture:
    """How often it is right that is said with a confidence, in the bins of the calibration error; both [N]."""
    from scipy.stats import binomtest

    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(place, minlength=BINS)
    there = count > 0
    said, held = (np.bincount(place, values, BINS)[there] / count[there] for values in (confidence, right))
    tests = [binomtest(round(part * of), int(of)) for part, of in zip(held, count[there], strict=True)]
    low, high = np.array([test.proportion_ci(method="wilson") for test in tests]).T

    def draw(axes: Any, palette: Palette) -> None:
        axes.plot([0, 1], [0, 1], color=palette.muted, linewidth=0.8, linestyle="--", label="as sure as right")
        axes.errorbar(said, held, yerr=[held - low, high - held], fmt="none", ecolor=palette.series[0], elinewidth=1, alpha=0.6)
        sizes = 14 + 120 * count[there] / count.max()
        axes.scatter(said, held, s=sizes, color=palette.series[0], linewidths=0, label="this model, 95 %", clip_on=False)
        axes.set_xlim(min(0.5, float(said.min()) - 0.03), 1.02)
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("confidence")
        axes.set_ylabel("share that is right")
        axes.grid()
        legend(axes)

    return Picture(name="reliability", told="share of right predictions by their confidence", draw=draw)


def scatter(labels: np.ndarray, predicted: np.ndarray) -> Picture:
    """Predictions of a regression against the labels, [N] both."""
    step = max(1, len(labels) // POINTS)

    def draw(axes: Any, palette: Palette) -> None:
        ends = [float(min(labels.min(), predicted.min())), float(max(labels.max(), predicted.max()))]
        axes.plot(ends, ends, color=palette.muted, linewidth=0.8, linestyle="--")
        axes.scatter(labels[::step], predicted[::step], s=10, color=palette.series[0], alpha=0.5, linewidths=0)
        axes.set_xlabel("label")
        axes.set_ylabel("predicted")
        axes.grid()

    return Picture(name="scatter", told="predictions against labels", draw=draw)


def cost(seconds: Mapping[str, float]) -> Picture:
    """Wall time by stage."""

    def draw(axes: Any, palette: Palette) -> None:
        axes.barh(range(len(seconds)), list(seconds.values()), color=palette.series[0], height=0.6)
        for place, value in enumerate(seconds.values()):
            axes.annotate(duration(value), (value, place), (4, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(seconds)), list(seconds))
        axes.set_ylim(len(seconds) - 0.5, -0.5)
        axes.set_xlim(0, max(seconds.values()) * 1.25 or 1)
        axes.set_xlabel("seconds")
        axes.tick_params(axis="y", length=0, labelcolor=palette.ink)
        axes.spines["left"].set_visible(False)

    return Picture(name="cost", told="wall time by stage", draw=draw, height=0.62 + 0.26 * len(seconds))


def legend(axes: Any, columns: int = 3) -> None:
    """A legend above the axes, where it covers nothing."""
    style = {"columnspacing": 1.2, "handletextpad": 0.5, "handlelength": 1.6, "borderaxespad": 0.2}
    axes.figure.legend(loc="outside upper left", ncols=columns, **style)


def clipped(text: str, most: int) -> str:
    """`text`, of which no more than `most` characters are shown."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
