"""What a comparison is of, as it is typed behind `tfl compare`: declared before anything runs, and kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from tfl.config import UserError, did_you_mean
from tfl.reporting.transfer import MEASURES
from tfl.studies.compare.subsets import ALL, Labels

SCRATCH = "scratch"
METHODS = {
    SCRATCH: "the same architecture from random weights, BatchNorm included",
    "head": "a new head on the frozen backbone",
    "top": "the head, then the top fifth of the blocks",
    "full": "the head, then all of the backbone, lower blocks at lower learning rates",
    "lora": "adapters of rank 8 beside the attention layers, and the head",
    "config": "the phases of the config",
}
"""What can be compared."""
LABELS: tuple[Labels, ...] = (5, 10, 20, 50, ALL)
UPDATES = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison before it runs."""

    methods: tuple[str, ...]
    """Of `METHODS`, `scratch` first."""
    labels: tuple[Labels, ...]
    """Labels a class, ascending; `all` comes last."""
    labels_chosen: bool
    """Whether the user named them; else those that a class cannot give are left out."""
    seeds: int
    updates: int
    """Of each training, about; with `budget`, what the epochs between validations are taken from."""
    budget: float | None
    """Seconds of each training; None: the same number of updates in place of it."""
    measure: str
    """Of the primary end point: one of `MEASURES`."""
    endpoint_labels: Labels | None
    """Of the primary end point; None: the largest count."""

    @property
    def transfers(self) -> tuple[str, ...]:
        """The methods that are compared with `scratch`."""
        return self.methods[1:]

    def fitted(self, labels: tuple[Labels, ...]) -> Plan:
        """The plan with the `labels` that the data has. Raises `UserError` where the primary end point is not among them."""
        if not labels:
            raise UserError("labels: no class has so many training examples; name fewer, or all")
        if self.endpoint_labels not in (None, *labels):
            raise UserError(f"endpoint: no comparison at {self.endpoint_labels} labels; one of {_listed(labels)}")
        return dataclasses.replace(self, labels=labels, endpoint_labels=self.endpoint_labels or labels[-1])


def plan(
    *,
    labels: str | Sequence[Labels] | None = None,
    seeds: int = 5,
    methods: str | Sequence[str] | None = None,
    updates: int | None = None,
    budget: float | None = None,
    endpoint: str | None = None,
    own_phases: bool = False,
) -> Plan:
    """The comparison that the options of `tfl compare` ask for; `own_phases`: whether the config has phases.

    `labels` and `methods` are typed with commas between them, or given as a sequence.
    Raises `UserError`, naming the option.
    """
    _check_numbers(budget, seeds=seeds, updates=UPDATES if updates is None else updates)
    if seeds < 2:
        raise UserError(f"seeds: {seeds} is not valid; at least 2, since one seed does not show what another would do")
    if updates is not None and updates < 1:
        raise UserError(f"updates: {updates} is not valid; at least 1")
    if budget is not None and budget <= 0:
        raise UserError(f"budget: {budget:g} is not valid; seconds, above 0")
    if budget is not None and updates is not None:
        raise UserError("budget: it takes the place of updates; name one of them")
    measure, at = _endpoint(endpoint)
    chosen = LABELS if labels is None else _labels(labels)
    if at is not None and labels is not None and at not in chosen:
        raise UserError(f"endpoint: {at} is not among the labels that are compared: {_listed(chosen)}")
    return Plan(
        methods=_methods(methods, own_phases),
        labels=chosen,
        labels_chosen=labels is not None,
        seeds=seeds,
        updates=updates or UPDATES,
        budget=budget,
        measure=measure,
        endpoint_labels=at,
    )


def described(found: Plan) -> dict[str, Any]:
    """The plan as JSON can hold it."""
    return {**dataclasses.asdict(found), "endpoint": f"{found.measure}@{found.endpoint_labels or 'the largest count'}"}


def _check_numbers(budget: Any, **counts: Any) -> None:
    """Raises a `UserError` for what is given in Python and is not of the type that would have been typed."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise UserError(f"--{name}: {value!r} is not valid; how many, a whole number such as 5")
    if budget is not None and (isinstance(budget, bool) or not isinstance(budget, Real)):
        raise UserError(f"budget: {budget!r} is not valid; seconds, a number such as 60")


def _methods(given: str | Sequence[str] | None, own_phases: bool) -> tuple[str, ...]:
    if given is None:
        return (SCRATCH, "config") if own_phases else (SCRATCH, "head", "top")
    names = _words(given)
    for name in names:
        if name not in METHODS:
            raise UserError(f"methods: {name!r} is not valid; one of {', '.join(METHODS)}{did_you_mean(name, METHODS)}")
    if "config" in names and not own_phases:
        raise UserError("methods: config stands for the config's own phases, and this job has none; give phases=[…]")
    others = tuple(dict.fromkeys(name for name in names if name != SCRATCH))
    if not others:
        raise UserError("methods: nothing is compared with scratch; name also head, top, full or lora")
    return (SCRATCH, *others)


def _words(given: str | Sequence[Any]) -> list[str]:
    several = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    return [str(one).strip() for one in several]


def _labels(given: str | Sequence[Labels]) -> tuple[Labels, ...]:
    counts = {_count("labels", word) for word in _words(given)}
    return tuple(sorted(counts, key=lambda count: (count == ALL, count)))


def _count(option: str, word: str) -> Labels:
    if word == ALL:
        return ALL
    if not word.isdecimal() or int(word) < 1:
        raise UserError(f"{option}: {word!r} is not valid; labels a class, whole numbers from 1 on, or all: 5,10,20,all")
    return int(word)


def _endpoint(typed: str | None) -> tuple[str, Labels | None]:
    measure, sign, at = str(typed or "end").partition("@")
    if measure not in MEASURES:
        raise UserError(
            f"endpoint: {measure!r} is not valid; one of {', '.join(MEASURES)}{did_you_mean(measure, MEASURES)}, with "
            f"@LABELS where it is not the largest count: end@10"
        )
    return measure, _count("endpoint", at) if sign else None


def _listed(labels: Sequence[Labels]) -> str:
    return ", ".join(map(str, labels))
