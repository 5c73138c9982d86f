"""Did the transfer help? The answer that stands above all, from what a comparison with scratch has left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfl.reporting.section import Answer

MEASURES = {
    "end": "accuracy on the test split",
    "slope": "mean accuracy on the validation split over the budget",
    "start": "accuracy on the validation split after the first epoch",
}
"""What a method is compared with scratch by."""
DONE = {
    "helped": "helped",
    "no difference": "made no difference that this data can show",
    "hurt": "hurt",
}
"""What the transfer did, by the verdict."""
BADGES = {"helped": "helped", "no difference": "no difference shown", "hurt": "hurt", "mixed": "it depends"}


def answer(comparison: Mapping[str, Any], own: str = "") -> Answer:
    """What `comparison` (of compare.json) says by its primary end point; of the method `own` alone, where it is among them."""
    primary = [one for one in comparison.get("effects", ()) if one["primary"]]
    chosen = [one for one in primary if one["method"] == own] or primary
    verdicts = list(dict.fromkeys(one["verdict"] for one in chosen))
    if not verdicts:
        return Answer(state="unknown", badge="not known", headline="This comparison holds no primary end point.")
    state = verdicts[0] if len(verdicts) == 1 else "mixed"
    if len(verdicts) == 1:
        said = f"The transfer {DONE[state]}."
    else:
        parts = [f"{DONE[verdict]} with {_and(_of(chosen, verdict))}" for verdict in verdicts]
        said = f"The transfer {', '.join(parts[:-1])} and {parts[-1]}."
    advised = dict.fromkeys(one["advice"] for one in chosen if one.get("advice"))
    sentences = [sentence(one) for one in primary] + [f"{text[0].upper()}{text[1:]}." for text in advised]
    return Answer(state=state, badge=BADGES[state], headline=said, sentences=sentences)


def sentence(effect: Mapping[str, Any]) -> str:
    """A difference in a sentence: what is reached, against what, and how sure that is."""
    low, high = effect["decided"]
    return (
        f"{named(effect['method'])}, {labels_in_words(effect['labels'])}: {MEASURES.get(effect['measure'], effect['measure'])} "
        f"{effect['transfer']:.3f}, against {effect['scratch']:.3f} from scratch: {effect['value']:+.3f} "
        f"(interval {low:+.3f} to {high:+.3f})."
    )


def named(method: str) -> str:
    """A method as a reader of the page knows it."""
    return "The config's phases" if method == "config" else method


def basis(comparison: Mapping[str, Any]) -> str:
    """On what a comparison rests: seeds, test examples, budget."""
    trials, budget = comparison.get("trials") or [{}], comparison.get("budget")
    each = f"{budget:g} seconds" if budget else f"about {comparison.get('updates', '?')} updates"
    examples = len(trials[0].get("right", ()))
    return (
        f"{len(comparison.get('seeds', ()))} paired seeds, {examples:,} test examples, {each} for each training; "
        "the interval is over seeds and test examples"
    )


def reached(comparison: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The test accuracy of each method with the most labels, scratch first."""
    methods = [one for one in comparison.get("methods", ()) if isinstance(one, Mapping)]
    most = methods[-1]["labels"] if methods else None
    return [(one["method"], one["end"]) for one in methods if one["labels"] == most]


def labels_in_words(labels: Any) -> str:
    """`all labels`, `5 labels a class`."""
    return "all labels" if labels == "all" else f"{labels} label{'' if labels == 1 else 's'} a class"


def _of(effects: Iterable[Mapping[str, Any]], verdict: str) -> list[str]:
    return [one["method"] for one in effects if one["verdict"] == verdict]


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
