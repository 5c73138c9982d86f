"""What a sweep tries: values of keys, and ranges, as they are typed behind `tfl sweep`."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfl.config import UserError, assign, override

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
        """Values that are valid only if all are."""
        return (self.low, self.high)

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
    plain = []
    for item in items:
        key, _, text = item.partition("=")
        found = _dimension(key, text.strip())
        if found is None:
            plain.append(item)
        else:
            space[key] = found
    if not space:
        raise UserError(
            "a sweep needs something to try: task.dropout=0,0.2 (values) or phases.0.learning_rate=1e-4..1e-2 (a range)"
        )
    return space, plain


def _dimension(key: str, text: str) -> Choices | Range | None:
    ends = RANGE.match(text)
    if ends:
        low, high = (override({}, [f"end={end}"])["end"] for end in ends.groups())
        if not all(isinstance(end, (int, float)) for end in (low, high)) or not low < high:
            raise UserError(f"{key}: {text} is not a range; write low..high, such as 1e-4..1e-2")
        return Range(low, high)
    values = override({}, [f"values=[{text}]"])["values"] if "," in text else []
    return Choices(tuple(values)) if len(values) > 1 else None


def configs(raw: Mapping[str, Any], space: Space, make: Callable[[Mapping[str, Any]], Any]) -> None:
    """Raises the `UserError` that `make` raises for a config with any of the values in `space`, ends of ranges included."""
    first = {key: dimension.ends[0] for key, dimension in space.items()}
    for key, dimension in space.items():
        for value in dimension.ends:
            make(assign(raw, {**first, key: value}))


def grid(space: Space) -> Iterator[dict[str, Any]] | None:
    """Every combination of values, or None where there is a range."""
    if not all(isinstance(dimension, Choices) for dimension in space.values()):
        return None
    each = ([(key, value) for value in dimension.ends] for key, dimension in space.items())
    return (dict(combination) for combination in itertools.product(*each))


def describe(space: Space) -> dict[str, Any]:
    """`space` as JSON can hold it."""
    return {
        key: list(found.values) if isinstance(found, Choices) else {"low": found.low, "high": found.high}
        for key, found in space.items()
    }


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """The values that Optuna's `trial` is to try."""
    values: dict[str, Any] = {}
    for key, found in space.items():
        if isinstance(found, Choices):  # Optuna's choices are plain values; these may be lists
            words = [json.dumps(value) for value in found.values]
            values[key] = found.values[words.index(trial.suggest_categorical(key, words))]
        elif found.whole:
            values[key] = trial.suggest_int(key, int(found.low), int(found.high), log=found.log)
        else:
            values[key] = trial.suggest_float(key, found.low, found.high, log=found.log)
    return values
