"""What `audit.json` in a run's directory holds, as tables: whatever an audit has found, its names are the captions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Section, Table
from tfl.terminal import interval, number

ROWS = 40
"""Of a table, at most."""


def section(run: Evidence) -> Section | None:
    """The findings of an audit; None where there was none."""
    if not run.audit:
        return None
    single = {name: value for name, value in run.audit.items() if _is_cell(value)}
    said = [value for name, value in single.items() if name in ("verdict", "summary")]
    rest = {name: value for name, value in single.items() if name not in ("verdict", "summary", "schema")}
    tables = [_pairs("", rest)] if rest else []
    for name, value in run.audit.items():
        if not _is_cell(value):
            tables += _tables(_words(name), value)
    return Section(name="audit", title="The audit", sentences=[str(line) for line in said], tables=tables)


def _tables(caption: str, value: Any) -> Iterator[Table]:
    """A list of records is a table, a mapping one of names and values; what lies deeper, tables of its own."""
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        names = list(dict.fromkeys(name for row in value for name in row if any(_is_cell(one.get(name)) for one in value)))
        rows = [[_cell(row.get(name)) for name in names] for row in value[:ROWS]]
        more = f" (the first {ROWS} of {len(value)})" if len(value) > ROWS else ""
        yield Table(header=[_words(name) for name in names], rows=rows, caption=caption + more)
    elif isinstance(value, list) and value and all(map(_is_cell, value)):
        yield Table(header=(caption,), rows=[[_cell(one)] for one in value[:ROWS]])
    elif isinstance(value, Mapping):
        cells = {name: one for name, one in value.items() if _is_cell(one)}
        if cells:
            yield _pairs(caption, cells)
        for name, one in value.items():
            if not _is_cell(one):
                yield from _tables(f"{caption}: {_words(name)}", one)


def _pairs(caption: str, values: Mapping[str, Any]) -> Table:
    return Table(header=("", ""), rows=[(_words(name), _cell(value)) for name, value in values.items()], caption=caption)


def _is_cell(value: Any) -> bool:
    return not isinstance(value, (Mapping, list)) or (isinstance(value, Mapping) and "value" in value and "low" in value)


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{number(value.get('value'))} ({interval(value)})" if "value" in value else "…"
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "…"
    return number(value) if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return str(name).replace("_", " ")
