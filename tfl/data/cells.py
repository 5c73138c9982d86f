"""Single values as people have them: of a cell, of a column, of a list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character of UTF-16."""


def missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def in_short(value: Any) -> str:
    """`value` as an error shows it."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"


def read_texts(values: Sequence[Any], column: str | None = None) -> tuple[list[str], dict[int, str]]:
    """`values`, those of a `column`, as texts, and why some are none; those are "".

    None are what is missing or blank, lists and mappings, and half a character of UTF-16, as a text that was cut may end.
    """
    none = "no text" if column is None else f"no text in column {column!r}"
    texts: list[str] = []
    wrong: dict[int, str] = {}
    for place, value in enumerate(values):
        text = "" if missing(value) else str(value)
        reason = "" if text.strip() else none
        if isinstance(value, (list, tuple, dict, set, np.ndarray)):
            reason = f"{none}: {in_short(value)}"
        elif not text.isascii() and (half := SURROGATE.search(text)):
            reason = f"{none}: half a character (\\u{ord(half[0]):x}) at position {half.start()}"
        if reason:
            wrong[place] = reason
        texts.append("" if reason else text)
    return texts, wrong
