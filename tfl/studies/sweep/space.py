"""What a sweep tries: values of keys, and ranges, as they are typed behind `tfl sweep`."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfl.config import UserError, assign, override, plain

FIXED = ("method", "folds", "features", "precision", "distribute", "deterministic")
"""Keys that are the same for all trials, which share a session; of features, the number of views may be tried."""

RANGE = re.compile(r"^([-+]?[\d._]+(?:[eE][-+]?\d+)?)\.\.([-+]?[\d._]+(?:[eE][-+]?\d+)?)$")


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that are valid only if all are."""
        return self.values


@dataclass(frozen=True)
class Range:
    """A number between two others; by its logarithm where both are positive and one is at least ten times the other."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that are valid only if all are; one inside shows what takes whole numbers only."""
        return (self.low, self.high) if self.whole else (self.low, self.low + (self.high - self.low) / math.e, self.high)

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def log(self) -> bool:
        """Whether the logarithm is what is drawn evenly."""
        return self.low > 0 and self.high >= 10 * self.low


Space = Mapping[str, Choices | Range]


def parse(items: Sequence[str]) -> tuple[dict[str, Choices | Range], list[str]]:
    """The space in `items` (`key=a,b,c` and `key=low..high`), and those of `items` that give one value.

    What stands in brackets, braces or quotes is one value. Raises `UserError` for a range that is none, and where nothing
    is left to try.
    """
    space: dict[str, Choices | Range] = {}
    single = []
    for item in items:
        key, _, text = item.partition("=")
        found = _dimension(key, text.strip())
        if found is None:
            single.append(item)
        elif key in space:
            raise UserError(f"{key}: it is given twice; write all its values behind one {key}=")
        else:
            space[key] = found
    if not space:
        raise UserError(
            "a sweep needs something to try: task.dropout=0,0.2 (values) or phases.0.learning_rate=1e-4..1e-2 (a range)"
        )
    _check_keys(space)
    return space, single


def given(dimensions: Mapping[str, Any]) -> dict[str, Choices | Range]:
    """The space of Python values: for each key a list of values, or what could be typed: "low..high", "a,b".

    Raises `UserError` for a range that is none, for one value that is no list, and where nothing is to be tried.
    """
    if not isinstance(dimensions, Mapping):
        raise UserError(
            f'space: {dimensions!r} is not valid; a mapping of keys to their values, such as {{"task.dropout": [0, 0.2]}}'
        )
    space = {
        key: _dimension(key, found.strip()) if isinstance(found, str) else _listed(found) for key, found in dimensions.items()
    }
    lines = [
        f'space: {key}: {dimensions[key]!r} is not valid; a list of values, such as [0, 0.2], or a range, such as "1e-4..1e-2"'
        for key, found in space.items()
        if found is None
    ]
    if lines or not space:
        raise UserError("\n".join(lines) or 'space: nothing to try; name values by key, such as {"task.dropout": [0, 0.2]}')
    _check_keys(space)
    return {key: found for key, found in space.items() if found is not None}


def _listed(values: Any) -> Choices | None:
    return _choices([plain(value) for value in values]) if isinstance(values, (list, tuple)) and values else None


def _check_keys(space: Mapping[str, Any]) -> None:
    for key in space:
        if key.split(".")[0] in FIXED and key != "features.views":
            raise UserError(f"{key}: a sweep has one value of it for all trials; name that one")


def _dimension(key: str, text: str) -> Choices | Range | None:
    ends = RANGE.match(text)
    if ends:
        low, high = (override({}, [f"end={end}"])["end"] for end in ends.groups())
        if not all(isinstance(end, (int, float)) for end in (low, high)) or not low < high:
            raise UserError(f"{key}: {text} is not a range; write low..high, such as 1e-4..1e-2")
        return Range(low, high)
    if not text.replace(",", " ").strip() or "," not in text:  # a comma alone is a value: a separator
        return None
    try:
        values = override({}, [f"values=[{text}]"])["values"]
    except UserError as error:
        raise UserError(f"{key}: {text!r} is neither values (a,b,c) nor one value that YAML can read") from error
    return _choices(values) if len(values) > 1 else None


def _choices(values: Sequence[Any]) -> Choices:
    """Each of `values` once."""
    return Choices(tuple(value for place, value in enumerate(values) if _word(value) not in map(_word, values[:place])))


def _word(value: Any) -> str:
    """A choice as Optuna keeps it: its choices are plain values; these may be lists, and 1 is not True."""
    return json.dumps(value, default=str)


def applied(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with `values` by key; `phases` comes before `phases.0.epochs`, which changes a copy of what was chosen."""
    return assign(raw, {key: copy.deepcopy(values[key]) for key in sorted(values, key=lambda key: key.count("."))})


def first(space: Space) -> dict[str, Any]:
    """One value of each key."""
    return {key: dimension.ends[0] for key, dimension in space.items()}


def check(raw: Mapping[str, Any], space: Space, make: Callable[[Mapping[str, Any]], Any]) -> None:
    """Raises the `UserError` that `make` raises for a config with any of the values in `space`, ends of ranges included."""
    for key, dimension in space.items():
        for value in dimension.ends:
            make(applied(raw, {**first(space), key: value}))


def grid(space: Space, most: int) -> list[dict[str, Any]]:
    """Every combination of values; nothing where there are more than `most`, or a range is not of whole numbers."""
    each = [_points(dimension, most) for dimension in space.values()]
    if not all(each) or math.prod(map(len, each)) > most:
        return []
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*each)]


def _points(dimension: Choices | Range, most: int) -> Sequence[Any]:
    if isinstance(dimension, Choices):
        return dimension.values
    return (
        range(int(dimension.low), int(dimension.high) + 1) if dimension.whole and dimension.high - dimension.low < most else ()
    )


def describe(space: Space) -> dict[str, Any]:
    """`space` as JSON can hold it."""
    return {
        key: list(found.values) if isinstance(found, Choices) else {"low": found.low, "high": found.high}
        for key, found in space.items()
    }


# --- as Optuna has it -------------------------------------------------------------------------------------------------


def distributions(space: Space) -> dict[str, Any]:
    """The space as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, Any] = {}
    for key, found in space.items():
        if isinstance(found, Choices):
            made[key] = CategoricalDistribution([_word(value) for value in found.values])
        elif found.whole:
            made[key] = IntDistribution(int(found.low), int(found.high), log=found.log)
        else:
            made[key] = FloatDistribution(found.low, found.high, log=found.log)
    return made


def words(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """`values` as Optuna's parameters."""
    return {key: _word(value) if isinstance(space[key], Choices) else value for key, value in values.items()}


def values(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The values that Optuna's `params` stand for, in the order of `space`."""
    return {key: _chosen(found, params[key]) for key, found in space.items()}


def _chosen(dimension: Choices | Range, param: Any) -> Any:
    if isinstance(dimension, Range):
        return param
    return next(value for value in dimension.values if _word(value) == param)
