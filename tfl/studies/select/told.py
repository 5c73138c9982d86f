"""A selection for the terminal: the recommendation first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tfl.studies.select.ranking import Candidate, Ranking
from tfl.studies.select.scores import REPEATS
from tfl.studies.select.select import Selection


def told(result: Selection) -> Any:
    """The recommendation of a finished selection, what it rests on, and the table."""
    from rich.console import Group
    from rich.text import Text

    ranking = result.ranking
    assert ranking is not None
    first, *rest = sentences(ranking)
    basis = (
        f"by a linear probe on frozen features, {result.folds}-fold cross-validation, {REPEATS} times, of {result.examples} "
        f"examples of the training and validation splits; the test split is untouched"
    )
    lines = [Text(first, style="bold"), *map(Text, rest), Text(""), Text(basis), Text("")]
    lower = [_depths(ranking)] if any(one.depths for one in ranking.candidates) else []
    return Group(*lines, _table(ranking), *lower)


def sentences(ranking: Ranking) -> Iterator[str]:
    """What is recommended and why, a line each."""
    best, chosen = ranking.best, ranking.recommended
    yield f"recommended: {chosen.label}, probe accuracy {chosen.scores.accuracy:.3f}, {_cost(chosen)}"
    if chosen is not best:
        its = ranking.of(chosen)
        yield (
            f"the best, {best.label}, has {best.scores.accuracy:.3f}: {its.value:+.3f} (interval {its.low:+.3f} to "
            f"{its.high:+.3f}), which these data cannot tell from no difference; it costs {_cost(best)}"
        )
    others = [one.label for one in ranking.alike if one not in (best, chosen)]
    if others:
        yield f"not to be told from the best either, and not much cheaper: {', '.join(others)}"
    beyond = [one for one in ranking.candidates if ranking.of(one).beyond_noise]
    if beyond:
        nearest = ranking.of(beyond[0])
        yield (
            f"worse beyond noise: {', '.join(one.label for one in beyond)}; the first of them by {nearest.value:.3f} "
            f"(interval {nearest.low:+.3f} to {nearest.high:+.3f})"
        )
    yield from _cuts(chosen)


def _cuts(chosen: Candidate) -> Iterator[str]:
    """What lower cuts of the recommended backbone say."""
    if not chosen.depths:
        return
    better = [depth for depth in chosen.depths if depth.gain.low > 0]
    if not better:
        yield f"no lower cut of {chosen.label} has better features than its top, beyond noise"
        return
    one = max(better, key=lambda depth: depth.scores.order)
    yield (
        f"its top is worse than {one.block} by {one.gain.value:.3f} (interval {one.gain.low:+.3f} to {one.gain.high:+.3f}): "
        f"train what lies above, {{trainable: {one.above}}}"
    )


def _cost(one: Candidate) -> str:
    return f"{one.cost.seconds * 1000:.1f} ms an example, {one.cost.megabytes:.1f} MB"


def _table(ranking: Ranking) -> Any:
    from rich.table import Table

    cost = ["ms an example", "parameters", "MB", "scored in, s"]
    table = Table("", "backbone", "probe", "behind the best", "k-NN", "LogME", "H-score", "features", *cost, box=None)
    for place, one in enumerate(ranking.candidates, start=1):
        its, scores = ranking.of(one), one.scores
        behind = "" if place == 1 else f"{its.value:.3f} ({its.low:+.3f} to {its.high:+.3f})"
        shown = [f"{scores.neighbours:.3f}", f"{scores.log_me:.3f}", f"{scores.h_score:.2f}", f"{one.dimensions:,}"]
        costs = [
            f"{one.cost.seconds * 1000:.1f}",
            f"{one.cost.parameters:,}",
            f"{one.cost.megabytes:.1f}",
            f"{one.seconds:.1f}",
        ]
        mark = " *" if one is ranking.recommended else ""
        table.add_row(str(place), one.label + mark, f"{scores.accuracy:.3f}", behind, *shown, *costs)
    return table


def _depths(ranking: Ranking) -> Any:
    from rich.table import Table

    table = Table("backbone", "up to", "probe", "over the top", "k-NN", "LogME", "H-score", "parameters", box=None)
    for one in ranking.candidates:
        for depth in one.depths:
            scores, gain = depth.scores, depth.gain
            shown = [f"{scores.neighbours:.3f}", f"{scores.log_me:.3f}", f"{scores.h_score:.2f}", f"{depth.parameters:,}"]
            over = f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
            table.add_row(one.label, depth.block, f"{scores.accuracy:.3f}", over, *shown)
    return table
