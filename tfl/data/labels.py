"""Raw labels, whatever they are, to the labels of `Examples`: class indices, 0/1 vectors or numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfl.config import UserError
from tfl.data.cells import decoded
from tfl.data.examples import Examples, Unreadable
from tfl.kinds import AnyKind, Kind

NUMBER = re.compile(r"[+-]?(0|[1-9]\d*|\d*\.\d+|[1-9]\d*\.|0\.)([eE][+-]?\d+)?|[+-]?inf", re.IGNORECASE)
GAPS, MORE_GAPS = ("na", "n/a", "nan", "null"), ("none", "-")
"""What programs write in place of a number that is missing; the latter may be a class beside whole numbers."""
WHOLE = re.compile(r"-?(0|[1-9]\d*)(\.0*)?")
SEVERAL = (list, tuple, set, frozenset)
MANY = 50
"""More distinct whole numbers than this are taken for a quantity, not for classes, unless the kind is given."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """Labels of N examples."""

    values: np.ndarray
    """[N] int64, [N, C] float32 or [N] float32, by `kind`; anything where an entry of `wrong` says so."""
    class_names: tuple[str, ...]
    kind: Kind
    wrong: dict[int, str]
    """Which entries are no labels, and why."""


def read_labels(raw: Any, kind: AnyKind = "auto", class_names: Sequence[str] | None = None) -> Labels:
    """Labels from one value an example: [N] strings, whole numbers, booleans or floats; None and NaN are missing.

    `auto` is regression for numbers of which one has a fraction and for whole numbers (2.0 too) with more than `MANY`
    distinct values, multi-label for lists of names, else classification. Classes are sorted, numbers by value. With
    `class_names`, whole numbers are indices into them, strings are names of them. Labels [N, C] of 0 and 1 are multi-label;
    [N, 1] is one value an example.
    """
    if getattr(raw, "ndim", 1) == 2:
        table = np.asarray(raw)
        if table.shape[1] != 1:
            return indicator_labels(table, class_names)
        raw = table[:, 0]  # the labels of keras.datasets.cifar10 are [N, 1]
    values = [_plain(value) for value in raw]
    wrong = {place: "no label" for place, value in enumerate(values) if value is None}
    present = [value for value in values if value is not None]
    if kind in ("auto", "multilabel") and present and all(isinstance(value, SEVERAL) for value in present):
        return indicator_labels(np.array(values), class_names) if _are_indicators(values) else _sets(values)
    if kind == "multilabel":
        raise UserError("kind: multilabel needs lists of names, texts with a label_separator, or label: a list of 0/1 columns")
    several = next((value for value in present if isinstance(value, (*SEVERAL, dict))), None)
    if several is not None:
        raise UserError(f"label: {several!r} is not valid; one name or number an example, or for every one a list of names")
    if kind == "auto":
        kind = "regression" if class_names is None and _is_quantity(present) else "classification"
    if kind == "regression":
        return _numbers(values, wrong)
    return _classes(values, present, wrong, class_names)


def of_cells(cells: Sequence[Any], kind: AnyKind = "auto") -> list[Any]:
    """Cells of a .csv file, all of which are texts, as the numbers or truth values that they are where all of them are.

    Where they would be classes, those stay texts that would lose what tells them apart: 01 and 1, 1.1 and 1.10, 1e5. Among
    the numbers of a quantity, a word that programs write for none, NA or nan, is a missing one; else it names a class.
    """
    values = [_plain(cell) for cell in cells]
    values = _without_gaps(values) if kind == "auto" else values
    texts = [value for value in values if isinstance(value, str)]
    if texts and all(text.lower() in ("true", "false") for text in texts):
        return [value.lower() == "true" if isinstance(value, str) else value for value in values]
    if kind == "regression" or not all(NUMBER.fullmatch(text) for text in texts):
        return values
    found = [_parsed(value) if isinstance(value, str) else value for value in values]
    is_quantity = kind == "auto" and _is_quantity([value for value in found if value is not None])
    return found if is_quantity or all(WHOLE.fullmatch(text) for text in texts) else values


def _without_gaps(values: list[Any]) -> list[Any]:
    """`values` with None for the words for none, where what else is there is a quantity."""
    texts = {value for value in values if isinstance(value, str)}
    gaps = {text for text in texts if text.lower() in (*GAPS, *MORE_GAPS)}
    numbers = texts - gaps
    if not gaps or not all(NUMBER.fullmatch(text) for text in numbers):
        return values
    if all(WHOLE.fullmatch(text) for text in numbers):
        gaps = {text for text in gaps if text.lower() in GAPS}
    if not _is_quantity([_parsed(text) for text in numbers]):
        return values
    return [None if isinstance(value, str) and value in gaps else value for value in values]


def _parsed(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def indicator_labels(raw: np.ndarray, class_names: Sequence[str] | None = None) -> Labels:
    """Multi-label from [N, C] zeros and ones (booleans too); anything else in a row makes that row wrong."""
    names = tuple(class_names) if class_names is not None else tuple(map(str, range(raw.shape[1])))
    if len(names) != raw.shape[1]:
        raise UserError(f"labels have {raw.shape[1]} columns, but there are {len(names)} class names")
    values = np.array([[_number(value) for value in row] for row in raw.tolist()], dtype=np.float32).reshape(raw.shape)
    bad = ~np.all((values == 0) | (values == 1), axis=1)
    wrong = {int(place): f"labels {raw[place].tolist()!r} are not all 0 or 1" for place in np.flatnonzero(bad)}
    return Labels(values=np.nan_to_num(values), class_names=names, kind="multilabel", wrong=wrong)


def separated_labels(raw: Any, separator: str) -> Labels:
    """Multi-label from texts such as "red|round", or lists of names; an empty one means that no label applies."""
    values = [_plain(value) for value in raw]
    return _sets([str(value).split(separator) if not isinstance(value, (*SEVERAL, type(None))) else value for value in values])


def _are_indicators(values: Sequence[Any]) -> bool:
    """Whether each value is a list of 0 and 1, one for each class."""
    widths = {len(value) if isinstance(value, (list, tuple)) else 0 for value in values}
    return len(widths) == 1 and 0 not in widths and all(part in (0, 1) for value in values for part in value)


def _sets(values: Sequence[Any]) -> Labels:
    """Multi-label from a list of class names for each example; None and an empty list mean that no label applies."""
    wrong: dict[int, str] = {}
    sets: list[set[str]] = []
    for place, value in enumerate(values):
        parts = [] if value is None else list(value)
        if not all(isinstance(part, str) for part in parts):
            wrong[place] = f"label {value!r} is not a list of class names; 0 and 1 for each class stand in columns of their own"
            parts = []
        sets.append({part.strip() for part in parts} - {""})
    names = tuple(sorted(set().union(*sets)))
    column = {name: place for place, name in enumerate(names)}
    indicators = np.zeros((len(sets), len(names)), dtype=np.float32)
    for row, labels in enumerate(sets):
        indicators[row, [column[name] for name in labels]] = 1
    return Labels(values=indicators, class_names=names, kind="multilabel", wrong=wrong)


def attach(parts: Mapping[str, Examples], labels: Labels) -> tuple[dict[str, Examples], tuple[Unreadable, ...]]:
    """`parts` with their share of `labels`, which are those of all parts one after the other, and without wrong
    ones."""
    splits: dict[str, Examples] = {}
    unreadable: list[Unreadable] = []
    start = 0
    for name, examples in parts.items():
        places = np.arange(start, start + len(examples))
        good = np.array([place not in labels.wrong for place in places.tolist()], dtype=bool)
        unreadable += [Unreadable(examples.ids[place - start], labels.wrong[place]) for place in places[~good].tolist()]
        splits[name] = replace(examples, labels=labels.values[places]).take(np.flatnonzero(good))
        start += len(examples)
    return splits, tuple(unreadable)


def _plain(value: Any) -> Any:
    """`value` as a Python str, bool, int or float; None where it is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    value = decoded(value)
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if value is None or (isinstance(value, float) and np.isnan(value)) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, str):
        return value.strip() or None
    return value


def _is_quantity(present: list[Any]) -> bool:
    if not present or any(isinstance(value, (str, bool)) for value in present):
        return False
    # A column of whole numbers arrives as floats where one was missing at some time, and after many a conversion.
    whole = all(isinstance(value, int) or _number(value).is_integer() for value in present)
    return not whole or len(set(present)) > MANY


def _numbers(values: list[Any], wrong: dict[int, str]) -> Labels:
    result = np.zeros(len(values), dtype=np.float32)
    for place, value in enumerate(values):
        if value is None:
            continue
        result[place] = number = _number(value)
        if not np.isfinite(number):
            wrong[place] = f"label {value!r} is not a number"
    return Labels(values=result, class_names=(), kind="regression", wrong=wrong)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _classes(values: list[Any], present: list[Any], wrong: dict[int, str], class_names: Sequence[str] | None) -> Labels:
    if class_names is not None:
        names = tuple(class_names)
        index: dict[Any, int] = {name: place for place, name in enumerate(names)}
        index.update({place: place for place in range(len(names))})
    else:
        # Text and numbers in one column are all text; floats that stand for whole numbers are named as such.
        texts = any(isinstance(value, str) for value in present)
        ordered = sorted(set(map(str, present)) if texts else set(present))
        names = tuple(_name(value) for value in ordered)
        index = {value: place for place, value in enumerate(ordered)}
        values = [str(value) if texts and value is not None else value for value in values]
    result = np.zeros(len(values), dtype=np.int64)
    for place, value in enumerate(values):
        if value is None:
            continue
        found = index.get(value)
        if found is None:
            wrong[place] = f"label {value!r} is not one of the {len(names)} classes"
        else:
            result[place] = found
    return Labels(values=result, class_names=names, kind="classification", wrong=wrong)


def _name(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
