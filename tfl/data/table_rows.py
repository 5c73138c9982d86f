"""The rows of a table, one after the other: of CSV, TSV, JSONL or Parquet, however many there are.

A row that cannot be read, such as a line of JSONL that is no JSON, is an error of that row alone.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfl.config import UserError
from tfl.data.table import not_utf8, other_separator

CELL = 1 << 24
"""Characters of a cell of CSV at most; a quote that is never closed makes one longer."""
BATCH = 2048
"""Rows of a Parquet file that are in memory together."""

Found = Iterator[tuple[int, list[Any], str]]
"""The line, the values of the columns that are asked for, and why there are none."""


def names_of(file: Path) -> list[str]:
    """The columns of a table. Raises `UserError` for one that cannot be read."""
    return _READERS[file.suffix.lower()][0](file)


def rows_of(file: Path, names: list[str]) -> Found:
    """The rows of a table that are not empty, with the columns `names`. Raises `UserError` for one that cannot be read."""
    return _READERS[file.suffix.lower()][1](file, names)


def decoded(file: Path, newline: str | None = None) -> Iterator[str]:
    """The lines of a text file. Raises `UserError` where it is not UTF-8."""
    try:
        with file.open(encoding="utf-8-sig", newline=newline) as opened:
            yield from opened
    except UnicodeDecodeError as error:
        raise UserError(not_utf8(file)) from error


def _delimiter(file: Path) -> str:
    return "\t" if file.suffix.lower() == ".tsv" else ","


def _cells(file: Path) -> Iterator[tuple[int, list[str]]]:
    """The line at which each record begins, and its cells; the first is the header. Raises `UserError` where a quote that
    begins a cell is not closed, or is closed lines below in the middle of another: the rows between them would be one text.
    """
    ended = False
    held: list[str] = []

    def lines() -> Iterator[str]:
        nonlocal ended
        for line in decoded(file, newline=""):
            held.append(line)
            yield line
        ended = True

    line = 1
    csv.field_size_limit(CELL)
    reader = csv.reader(lines(), delimiter=_delimiter(file))
    try:
        for cells in reader:
            if ended:  # a record is done with its last line; only one that goes on in quotes asks for another
                raise csv.Error("the file ends in a cell")
            if len(held) > 1 and not all(_is_quoted(cell, "".join(held), _delimiter(file)) for cell in cells if "\n" in cell):
                raise csv.Error(
                    f"a cell that begins with a quote goes on to line {reader.line_num}, where text follows the quote"
                )
            held.clear()
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{file.name}: not a readable table: line {line}: {error}; is a quote not closed? Inside a text it is "
            'written twice, and the text in quotes: """Great"" film"'
        ) from error


def check_quotes(file: Path) -> None:
    """Raises `UserError` where a quote has made rows of a table one text."""
    for _ in _cells(file):
        pass


def _is_quoted(cell: str, record: str, delimiter: str) -> bool:
    """Whether `cell` stands in `record` between quotes, and nothing but blanks between them and the delimiters."""
    wanted = (re.escape(text.replace('"', '""')) for text in {cell, cell.rstrip(" \t")})
    return any(re.search(rf'"{text}"[ \t]*(?:{re.escape(delimiter)}|\r?\n|\r|$)', record) for text in wanted)


def _cell_names(file: Path) -> list[str]:
    if len(names := next(_cells(file), (1, []))[1]) == 1 and (why := other_separator(file, _delimiter(file))):
        raise UserError(why)
    if not names:
        raise UserError(f"{file.name}: not a readable table: no columns in the first line")
    return names


def _cell_rows(file: Path, names: list[str]) -> Found:
    records = _cells(file)
    header = next(records)[1]
    places = [header.index(name) for name in names]
    for line, cells in records:
        if len(cells) > len(header):
            yield line, [None] * len(places), f"{len(cells)} cells, and the header has {len(header)}; quote the delimiter"
        elif any(cells):
            yield line, [(cells[place] or None) if place < len(cells) else None for place in places], ""


def _json_lines(file: Path) -> Iterator[tuple[int, Any, str]]:
    for number, text in enumerate(decoded(file), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield number, {}, f"not JSON: {error}"
            continue
        yield (number, row, "") if isinstance(row, dict) else (number, {}, 'not an object such as {"text": …}')


def _json_names(file: Path) -> list[str]:
    return list(dict.fromkeys(name for _, row, _ in _json_lines(file) for name in row))


def _json_rows(file: Path, names: list[str]) -> Found:
    for line, row, reason in _json_lines(file):
        yield line, [row.get(name) for name in names], reason


def _parquet(file: Path) -> Any:
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise UserError(f"{file.name}: not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _parquet_names(file: Path) -> list[str]:
    with _parquet(file) as opened:
        return list(opened.schema_arrow.names)


def _parquet_rows(file: Path, names: list[str]) -> Found:
    line = 0
    with _parquet(file) as opened:
        for batch in opened.iter_batches(batch_size=BATCH, columns=names):
            for values in zip(*(batch.column(name).to_pylist() for name in names), strict=True):
                line += 1
                yield line, list(values), ""


_READERS = {
    ".csv": (_cell_names, _cell_rows),
    ".tsv": (_cell_names, _cell_rows),
    ".jsonl": (_json_names, _json_rows),
    ".parquet": (_parquet_names, _parquet_rows),
}
