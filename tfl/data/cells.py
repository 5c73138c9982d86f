"""Single values as people have them: of a cell, of a column, of a list."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tfl.config import UserError

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character of UTF-16."""


def missing(value: Any) -> bool:
    """Whether a cell holds nothing."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def in_short(value: Any) -> str:
    """`value` as an error shows it."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:59] + '…'}"


def decoded(value: Any) -> Any:
    """`value`, and of bytes the text that they are. Raises `UserError` where they are not UTF-8."""
    try:
        return value.decode("utf-8") if isinstance(value, bytes) else value
    except UnicodeDecodeError as error:
        raise UserError(f"{in_short(value)} is not UTF-8") from error


def image_cells(values: Sequence[Any], column: str) -> tuple[Literal["path", "image"], list[Any]]:
    """The cells of a `column` of images, None where one is missing: paths (str), or the bytes of encoded images.

    Either may stand in a mapping, `{"bytes": …, "path": …}`, as Hugging Face Datasets keep images. Raises `UserError` for a
    cell that is neither, and for a column of both.
    """
    cells = [_image_cell(value, column) for value in values]
    if any(isinstance(cell, bytes) for cell in cells):  # a path beside them is the name of an image that is not there
        cells = [
            None if isinstance(value, Mapping) and isinstance(cell, str) else cell
            for value, cell in zip(values, cells, strict=True)
        ]
    kinds = {type(cell) for cell in cells if cell is not None}
    if len(kinds) > 1:
        raise UserError(f"column {column!r} holds paths of images and encoded images; make it a column of one of them")
    return "image" if kinds == {bytes} else "path", cells


def _image_cell(value: Any, column: str) -> str | bytes | None:
    inside = value
    if isinstance(value, Mapping) and {"bytes", "path"} & set(value):
        inside = value.get("path") if missing(value.get("bytes")) else value["bytes"]
    if missing(inside):
        return None
    if isinstance(inside, (bytes, bytearray, memoryview)):
        return bytes(inside)
    if isinstance(inside, (str, os.PathLike)):
        return os.fspath(inside)
    raise UserError(
        f"column {column!r} holds {in_short(value)}; needed are paths of images, or the bytes of encoded ones (JPEG, PNG, …); "
        f"arrays of pixels are given as (arrays, labels)"
    )


def read_texts(values: Sequence[Any], column: str | None = None) -> tuple[list[str], dict[int, str]]:
    """`values`, those of a `column`, as texts, and why some are none; those are "".

    Bytes are texts in UTF-8. None are what is missing or blank, lists and mappings, bytes that are not UTF-8, and half a
    character of UTF-16, as a text that was cut may end.
    """
    none = "no text" if column is None else f"no text in column {column!r}"
    texts: list[str] = []
    wrong: dict[int, str] = {}
    for place, value in enumerate(values):
        try:
            text, reason = "" if missing(value) else str(decoded(value)), ""
        except UserError as error:
            text, reason = "", f"{none}: {error}"
        reason = reason or ("" if text.strip() else none)
        if isinstance(value, (list, tuple, dict, set, np.ndarray)):
            reason = f"{none}: {in_short(value)}"
        elif not text.isascii() and (half := SURROGATE.search(text)):
            reason = f"{none}: half a character (\\u{ord(half[0]):x}) at position {half.start()}"
        if reason:
            wrong[place] = reason
        texts.append("" if reason else text)
    return texts, wrong
