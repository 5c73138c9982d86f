"""The picture of a comparison: accuracy against labels for each method, with intervals."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tfl.studies import effects
from tfl.studies.effects import Trials

NAME = "compare"


def draw(trials: Trials, folder: Path) -> list[Path]:
    """Writes compare.png and compare.svg into `folder`; nothing where Matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        return []
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    plan = trials.plan
    counts = [trials.labels_a_class(labels) for labels in plan.labels]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, method in enumerate(plan.methods):
        found = [effects.accuracy(trials, method, labels) for labels in plan.labels]
        value = [one["value"] for one in found]
        below = [one["value"] - one["low"] for one in found]
        above = [one["high"] - one["value"] for one in found]
        shifted = [count * 1.02 ** (place - (len(plan.methods) - 1) / 2) for count in counts]
        axes.errorbar(shifted, value, yerr=[below, above], marker="o", markersize=4, capsize=3, linewidth=1.5, label=method)
    axes.set_xscale("log")
    axes.set_xticks(counts, [_tick(labels, count) for labels, count in zip(plan.labels, counts, strict=True)])
    axes.minorticks_off()
    axes.set_xlabel("labels a class")
    axes.set_ylabel(f"test accuracy, {plan.seeds} seeds, 95 % intervals")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    files = [folder / f"{NAME}.png", folder / f"{NAME}.svg"]
    for file in files:
        figure.savefig(file, dpi=150)
    return files


def _tick(labels: int | str, count: float) -> str:
    return f"all ({count:.0f})" if labels == "all" else str(labels)
