"""A comparison for the terminal: the verdict first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tfl.reporting.transfer import DONE, MEASURES, labels_in_words
from tfl.studies.compare import effects
from tfl.studies.compare.compare import Comparison
from tfl.studies.compare.curves import LEVELS
from tfl.studies.compare.effects import Effect, Trials
from tfl.studies.compare.plan import METHODS, SCRATCH


def told(result: Comparison) -> Any:
    """The verdict of a finished comparison, what it rests on, and the tables."""
    from rich.console import Group
    from rich.text import Text

    trials, plan = result.trials, result.plan
    assert trials is not None
    found = result.effects
    main = [one for one in found if one.primary]
    lines = [Text(line, style="bold") for one in main for line in [sentence(one)]]
    lines += [Text(f"  {one.method}: {one.advice}") for one in main if one.advice]
    others = len(found) - len(main)
    basis = [
        "",
        f"primary end point: {MEASURES[plan.measure]}, {labels_in_words(plan.endpoint_labels)}; {plan.seeds} paired seeds, "
        f"{len(trials.right(SCRATCH, plan.labels[0])[0])} test examples; intervals over both",
        corrected(len(main), others),
        f"{SCRATCH}: {METHODS[SCRATCH]}; learning rate {_rate(trials)}, augmented as the others",
        "",
    ]
    parts = [*lines, *map(Text, basis), _differences(found), Text(""), _courses(trials)]
    return Group(*parts, *(Text(line) for line in ["", *_efficiency(trials)]))


def sentence(one: Effect) -> str:
    """`head helped: …` with the numbers that it is said by."""
    low, high = one.decided
    return (
        f"{one.method} {DONE[one.verdict]}: {MEASURES[one.measure]}, {labels_in_words(one.labels)}: {one.transfer:.3f} "
        f"against {one.scratch:.3f} from scratch, {one.value:+.3f} (interval {low:+.3f} to {high:+.3f})"
    )


def corrected(primary: int, others: int) -> str:
    """How the number of comparisons is taken into account."""
    order = "the primary one needs no correction" if primary == 1 else "the primary ones are tested in the order of --methods"
    return f"{order}; the {others} others are corrected for their number by Holm"


def _differences(found: list[Effect]) -> Any:
    from rich.table import Table

    table = Table("labels", "measure", "method", "its mean", SCRATCH, "difference", "95 %", "p, corrected", "verdict", box=None)
    for one in found:
        mark = " *" if one.primary else ""
        interval = f"{one.low:+.3f} to {one.high:+.3f}"
        cells = [f"{one.transfer:.3f}", f"{one.scratch:.3f}", f"{one.value:+.3f}", interval, f"{one.adjusted_p:.3g}"]
        table.add_row(str(one.labels), one.measure + mark, one.method, *cells, one.verdict)
    return table


def _courses(trials: Trials) -> Any:
    from rich.table import Table

    columns = ["before", "first", "area", "best", "last"]
    over = "updates" if trials.plan.budget is None else "seconds"
    table = Table("labels", "method", *columns, f"{over} to levels", "updates", "seconds", "trained parameters", box=None)
    for labels in trials.plan.labels:
        for method in trials.plan.methods:
            one = effects.means(trials, method, labels)
            levels = [level(value, one["reached"][f"{value:g}"], trials.plan.seeds) for value in LEVELS]
            cost = [f"{one['updates']:,.0f}", f"{one['seconds']:,.1f}", f"{one['trained_parameters']:,.0f}"]
            table.add_row(str(labels), method, *(f"{one[name]:.3f}" for name in columns), " ".join(filter(None, levels)), *cost)
    return table


def level(one: float, found: dict[str, Any], seeds: int) -> str:
    """`0.8:35`, or with how many of the seeds reached it: `0.9:120 (2/3)`; "" where none did."""
    if not found["seeds"]:
        return ""
    of = "" if found["seeds"] == seeds else f"({found['seeds']}/{seeds})"
    return f"{one:g}:{found['mean']:.0f}{of}"


def _efficiency(trials: Trials) -> list[str]:
    return needed(effects.efficiency(trials), [trials.labels_a_class(labels) for labels in trials.plan.labels])


def needed(found: Sequence[Mapping[str, Any]], counts: Sequence[float]) -> list[str]:
    """Label efficiency in sentences; `counts`: the labels a class that were compared."""
    lines = []
    for one in found:
        needs = f"more than all {counts[-1]:.0f}" if one["needs"] is None else f"about {one['needs']:.0f}"
        if one["needs"] == min(counts):
            needs = f"{one['needs']:.0f} or fewer"
        shown = "" if one["more_than"] is None else f" (shown: more than {one['more_than']:.0f})"
        lines.append(f"for what {one['method']} has with {one['has']:.0f} labels a class, scratch needs {needs}{shown}")
    return lines


def _rate(trials: Trials) -> str:
    return f"{trials.of(SCRATCH, trials.plan.labels[0])[0].phases[0]['learning_rate']:g}"
