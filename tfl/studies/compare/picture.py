"""The pictures of a comparison: accuracy against labels for each method, with intervals; and the learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tfl import reporting
from tfl.studies.compare import effects
from tfl.studies.compare.effects import Trials

if TYPE_CHECKING:
    from tfl.reporting.ink import Palette, Picture

NAME = "compare"


def draw(trials: Trials, folder: Path) -> list[Path]:
    """Writes compare.png and compare.svg into `folder`; nothing where Matplotlib is not installed."""
    if reporting.missing():
        return []
    from tfl.reporting import ink

    plan = trials.plan
    means = [effects.means(trials, method, labels) for labels in plan.labels for method in plan.methods]
    counts = {labels: trials.labels_a_class(labels) for labels in plan.labels}
    return ink.save([against_labels(means, counts, plan.seeds)], folder)


def against_labels(means: Sequence[Mapping[str, Any]], counts: Mapping[Any, float], seeds: int) -> Picture:
    """Test accuracy against labels. `means`: of each method and count, as compare.json has them; `counts`: labels a class."""
    from tfl.reporting.figures import legend
    from tfl.reporting.ink import Picture

    methods = list(dict.fromkeys(one["method"] for one in means))

    def plot(axes: Any, palette: Palette) -> None:
        for place, method in enumerate(methods):
            found = [one["end"] for one in means if one["method"] == method]
            value = [one["value"] for one in found]
            below = [one["value"] - one["low"] for one in found]
            above = [one["high"] - one["value"] for one in found]
            shifted = [count * 1.03 ** (place - (len(methods) - 1) / 2) for count in counts.values()]
            style = {"marker": "o", "markersize": 4, "capsize": 3, "color": color(palette, methods, method)}
            axes.errorbar(shifted, value, yerr=[below, above], label=method, **style)
        axes.set_xscale("log")
        axes.set_xticks(list(counts.values()), [_tick(labels, count) for labels, count in counts.items()])
        axes.minorticks_off()
        axes.set_xlabel("labels a class")
        axes.set_ylabel(f"test accuracy ({seeds} seeds, 95 %)")
        axes.grid()
        legend(axes, 4)

    told = "test accuracy of each method against labels a class, with 95 % intervals"
    return Picture(name=NAME, told=told, draw=plot, width=3.8, height=2.9)


def learning(trials: Sequence[Mapping[str, Any]], labels: Any, over: str) -> Picture:
    """Validation accuracy in the course of training with so many `labels`, the mean over seeds. `trials`: of compare.json;
    `over`: updates or seconds.
    """
    from tfl.reporting.figures import legend
    from tfl.reporting.ink import Picture
    from tfl.reporting.transfer import labels_in_words

    own = [one for one in trials if one["labels"] == labels]
    methods = list(dict.fromkeys(one["method"] for one in own))

    def plot(axes: Any, palette: Palette) -> None:
        for method in methods:
            curves = [one["curve"] for one in own if one["method"] == method]
            places = np.unique(np.concatenate([curve[over] for curve in curves]))
            places = places[places <= min(curve[over][-1] for curve in curves)]
            mean = np.mean([np.interp(places, curve[over], curve["accuracy"]) for curve in curves], axis=0)
            axes.plot(places, mean, label=method, color=color(palette, methods, method))
        axes.set_xlabel(f"{over}, with {labels_in_words(labels)}")
        axes.set_ylabel("validation accuracy")
        axes.grid()
        legend(axes, 4)

    told = f"validation accuracy by {over} with {labels_in_words(labels)}"
    return Picture(name=f"learning-{labels}", told=told, draw=plot, height=2.4)


def color(palette: Palette, methods: Sequence[str], method: str) -> str:
    """Scratch is grey in every picture; the others have the colours in order."""
    others = [one for one in methods if one != "scratch"]
    return palette.muted if method == "scratch" else palette.series[others.index(method) % len(palette.series)]


def _tick(labels: int | str, count: float) -> str:
    return f"all ({count:.0f})" if labels == "all" else str(labels)
