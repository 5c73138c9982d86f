"""What an audit of the run found, where `audit.json` lies in its directory: findings, slices, and all that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tfl.reporting.evidence import Evidence
from tfl.reporting.section import Section, Table
from tfl.terminal import interval, number

ROWS = 40
"""Of a table, at most."""
DRAWN = ("bins", "epochs")
"""Lists that the page shows elsewhere, as pictures."""


def findings(run: Evidence) -> Section | None:
    """What to know before the model is used, the worst first; None where there was no audit."""
    if not run.audit:
        return None
    rows = [(one.get("level", ""), one.get("section", ""), one.get("text", "")) for one in _list(run.audit.get("findings"))]
    told = [f"{name}: not asked; {why}" for name, why in _mapping(run.audit.get("skipped")).items()]
    tables = (Table(header=("level", "about", "found"), rows=rows, words=True),) if rows else ()
    sentences = told if rows else ("Nothing was found that stands out.", *told)
    return Section(name="audit", title="What the audit found", sentences=sentences, tables=tables, wide=True)


def serious(run: Evidence) -> list[str]:
    """The serious findings in sentences."""
    return [
        f"Audit, {one['section']}: {one['text']}" for one in _list(run.audit.get("findings")) if one.get("level") == "serious"
    ]


def slices(run: Evidence) -> Section | None:
    """The score of every slice, and the gaps between them; None where none were made."""
    found = _mapping(_mapping(run.audit.get("sections")).get("slices"))
    columns = _mapping(found.get("columns"))
    if not columns:
        return None
    measure = str(found.get("measure", "score"))
    told, tables = [], []
    for name, column in columns.items():
        rows = [
            (str(one["slice"]), f"{one['examples']:,}", number(one["value"]), interval(one)) for one in column["slices"][:ROWS]
        ]
        tables.append(
            Table(header=(name, "examples", measure, "95 % interval"), rows=rows, caption=_cut(name, column["slices"]))
        )
        if gap := column.get("gap"):
            between = (
                f"{name}: {gap['worst']} does worse than {gap['best']} by {_cell(gap)}, p {gap.get('adjusted_p', gap['p']):.2g}"
            )
            beside = _mapping(column.get("scratch"))
            scratch = f"; from scratch the gap is {_cell(beside['scratch'])}" if beside else ""
            told.append(f"{between}{scratch}.")
    return Section(name="slices", title="Slice by slice", sentences=told, tables=tables, wide=True)


def measured(run: Evidence) -> Section | None:
    """Everything else that the audit measured, as it stands in the file."""
    tables: list[Table] = []
    for name, value in _mapping(run.audit.get("sections")).items():
        if name != "slices":
            tables += _tables(_words(name), value)
    return Section(name="measured", title="All that the audit measured", tables=tables, folded=True) if tables else None


def _tables(caption: str, value: Any) -> Iterator[Table]:
    """A list of records is a table, a mapping one of names and values; what lies deeper, tables of its own."""
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        names = [
            name
            for name in dict.fromkeys(name for row in value for name in row)
            if any(_is_cell(row.get(name)) for row in value)
        ]
        rows = [[_cell(row.get(name)) for name in names] for row in value[:ROWS]]
        yield Table(header=[_words(name) for name in names], rows=rows, caption=_cut(caption, value))
    elif isinstance(value, list) and value:
        yield Table(header=(_cut(caption, value),), rows=[[_cell(one)] for one in value[:ROWS]])
    elif isinstance(value, Mapping):
        cells = [(_words(name), _cell(one)) for name, one in value.items() if _is_cell(one)]
        if cells:
            yield Table(header=("", ""), rows=cells, caption=caption)
        for name, one in value.items():
            if not _is_cell(one) and name not in DRAWN:
                yield from _tables(f"{caption}: {_words(name)}", one)


def _cut(caption: str, rows: list[Any]) -> str:
    return f"{caption} (the first {ROWS} of {len(rows):,})" if len(rows) > ROWS else caption


def _is_cell(value: Any) -> bool:
    return not isinstance(value, (Mapping, list)) or (isinstance(value, Mapping) and {"value", "low", "high"} <= value.keys())


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{number(value['value'])} ({interval(value)})" if _is_cell(value) else "…"
    if isinstance(value, list):
        return ", ".join(map(str, value[:4])) + (" …" if len(value) > 4 else "")
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else str(value)


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _list(value: Any) -> list[Any]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
