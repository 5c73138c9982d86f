"""Table: CSV, TSV, JSONL or Parquet with a column of texts (or pairs of them), of image paths or of encoded images.

An example is a row; its id is the file and the line (`calls.csv:14`; in Parquet the row, counted from 1).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfl.config import UserError, near_file, require
from tfl.data.config import DataConfig
from tfl.data.examples import Records
from tfl.kinds import AnyKind
from tfl.lazy import pd

if TYPE_CHECKING:
    from tfl.data.frames import Part

EXTENSIONS = (".csv", ".tsv", ".jsonl", ".parquet")
SEPARATORS = (",", ";", "\t", "|")
"""What people put between the cells of a row."""
LINE = "\0line"
"""The column that holds the line of each row until it has become part of an id; no real column is called so."""


@dataclass(frozen=True, kw_only=True)
class ColumnConfig(DataConfig):
    """Which column holds what; shared by everything that is read from a table."""

    text: str | None = None
    """Column of texts; null: the one that is called text, sentence or the like."""
    text_pair: str | None = None
    """Column of second texts, where an example is a pair (premise and hypothesis, question and passage)."""
    image: str | None = None
    """Column of image paths, relative to the table's folder, or of encoded images: bytes, or {"bytes": …}."""
    label: str | tuple[str, ...] | None = None
    """Column of labels; several columns of 0 and 1 make it multi-label; null: the one that is called label."""
    label_separator: str | None = None
    """What stands between several labels in one cell ("red|round"); makes it multi-label."""
    kind: AnyKind = "auto"
    """What the labels are; auto: text, truth values and whole numbers are classes, unless there are more than
    50 distinct numbers; those, and numbers with a fraction, are a regression. Lists of names (JSONL, Parquet) are
    multi-label."""
    split: str | None = None
    """Column that says train, validation or test."""
    group: str | None = None
    """Column of what must stay on one side together (a company, a patient, a document)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        several = isinstance(self.label, tuple) or self.label_separator is not None
        checks = {
            "image": (self.image is None or self.text is None, "an example is an image or a text; give one of the two"),
            "text_pair": (self.text_pair is None or self.image is None, "a pair is of two texts"),
            "label_separator": (self.label_separator != "", "at least one character, or null"),
            "label": (self.label != (), "at least one column"),
            "kind": (not several or self.kind in ("auto", "multilabel"), "several labels are multilabel"),
        }
        require(self, checks)


@dataclass(frozen=True, kw_only=True)
class Config(ColumnConfig):
    """Rows of a file."""

    source: Literal["table"] = "table"
    path: str
    """The .csv, .tsv, .jsonl or .parquet file; rows to train on, or all rows."""
    validation_path: str | None = None
    """A file like `path` with the rows to validate on."""
    test_path: str | None = None
    """A file like `path` with the rows to test on."""


def read(config: Config) -> Records:
    """Reads the file or files. Raises `UserError` for what is missing, not UTF-8, or no table."""
    from tfl.data.frames import frame_records

    return frame_records(parts(config), config)


def parts(config: Config) -> list[Part]:
    """The tables in the file or files. Raises `UserError` for what is missing, not UTF-8, or no table."""
    from tfl.data.frames import Part

    others = {"validation": config.validation_path, "test": config.test_path}
    given = {name: path for name, path in others.items() if path is not None}
    if given and config.split is not None:
        raise UserError(f"split: {config.split!r} and {', '.join(f'{name}_path' for name in given)} exclude each other")
    files = {"train": config.path, **given} if given else {"all": config.path}
    found = []
    for name, path in files.items():
        file = Path(path).expanduser()
        typed = file.suffix.lower() not in (".csv", ".tsv")
        found.append(Part(name=name, frame=read_table(file), origin=file.name, folder=file.parent, typed=typed))
    names = [part.origin for part in found]
    if len(set(names)) < len(names):  # a/calls.csv and b/calls.csv: the ids must differ
        return [dataclasses.replace(part, origin=f"{part.name}/{part.origin}") for part in found]
    return found


def read_table(path: Path) -> pd.DataFrame:
    """The table in `path`, with the line of each row in the column `LINE`. An empty cell is missing; "NA" is a text.

    What a cell holds is what stands there: in .csv and .tsv a text, whatever it looks like ("007" is not 7), else what the
    file says that it is.
    """
    kind = path.suffix.lower()
    if kind not in EXTENSIONS:
        raise UserError(f"{path}: not a table that tfl reads; one of {', '.join(EXTENSIONS)}")
    if not path.is_file():
        where = "" if path.is_absolute() else f"; it is looked for in {Path.cwd()}"
        raise UserError(f"{path}: no such file{near_file(path)}{where}")
    if kind == ".parquet":
        return _read_parquet(path)
    try:
        frame = _read_json_lines(path) if kind == ".jsonl" else _read_delimited(path, "\t" if kind == ".tsv" else ",")
    except UnicodeDecodeError as error:
        raise UserError(not_utf8(path)) from error
    if frame.empty:
        raise UserError(f"{path.name}: no rows")
    return frame


def _read_delimited(path: Path, delimiter: str) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            path,
            sep=delimiter,
            encoding="utf-8-sig",
            dtype=str,
            keep_default_na=False,  # else texts such as "None" and "NA" would vanish
            na_values=[""],
            skip_blank_lines=False,  # else the lines could not be counted
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        detail = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise UserError(other_separator(path, delimiter) or f"{path.name}: not a readable table: {detail}") from error
    if (not isinstance(frame.index, pd.RangeIndex) or len(frame.columns) == 1) and (why := other_separator(path, delimiter)):
        raise UserError(why)
    if not isinstance(frame.index, pd.RangeIndex):
        raise UserError(f"{path.name}: rows have more cells than the header; quote cells that contain {delimiter!r}")
    breaks = pd.Series(0, index=frame.index)
    for place in range(frame.shape[1]):
        breaks += frame.iloc[:, place].str.count("\n").fillna(0).astype(int)
    if breaks.any():
        from tfl.data.table_rows import check_quotes

        check_quotes(path)
    lines = 2 + frame.index + breaks.cumsum().shift(fill_value=0)
    kept = frame.notna().any(axis=1)
    named = frame.set_axis(_as_written(path, frame.columns), axis=1)
    return named.assign(**{LINE: lines})[kept].reset_index(drop=True)


def _as_written(path: Path, names: Iterable[str]) -> list[str]:
    """`names` of columns, where those of which there are two are called so: pandas makes one of them `label.1`."""
    from tfl.data.table_rows import names_of

    header = names_of(path)
    double = {name for name in header if name and header.count(name) > 1}
    return [there if there in double else name for name, there in zip(names, header, strict=False)]


def other_separator(path: Path, delimiter: str) -> str | None:
    """What is said of a file whose header has no `delimiter` but another usual one, as from a spreadsheet in Europe."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    mark = max(SEPARATORS, key=header.count)
    if delimiter in header or mark not in header:
        return None
    found = f"{path.name}: columns seem to be separated by {mark!r}, not by {delimiter!r}"
    if mark in "\t,":
        return f"{found}; rename it to {path.with_suffix('.tsv' if mark != ',' else '.csv').name}"
    rewritten = f"pandas.read_csv('{path.name}', sep='{mark}', decimal=',', keep_default_na=False, na_values=[''])"
    return (
        f"{found}; save it with commas, or: "
        f"python -c \"import pandas; {rewritten}.to_csv('{path.stem}-commas.csv', index=False)\""
    )


def _read_json_lines(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path.name}:{number}: not JSON: {error.msg} (column {error.colno})") from error
            if not isinstance(row, dict):
                raise UserError(f'{path.name}:{number}: each line must be an object such as {{"text": …, "label": …}}')
            rows.append({**row, LINE: number})
    return pd.DataFrame(rows, dtype=object)  # else whole numbers become floats where one is missing


def _read_parquet(path: Path) -> pd.DataFrame:
    from tfl.data.given import named_columns

    try:
        frame = named_columns(pd.read_parquet(path).reset_index(drop=True))
    except (OSError, ValueError) as error:  # pyarrow's errors are both
        raise UserError(f"{path.name}: not a readable Parquet file: {str(error).splitlines()[0]}") from error
    frame[LINE] = range(1, len(frame) + 1)
    return frame


def not_utf8(path: Path) -> str:
    """What is said of a file that is not UTF-8."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return f"{path.name}: UTF-16, not UTF-8, from byte 0 on; save it as UTF-8 ('CSV UTF-8' in a spreadsheet)"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return (
            f"{path.name}: not UTF-8: byte 0x{content[error.start]:02x} at position {error.start} (line {line}); "
            "save it as UTF-8 ('CSV UTF-8' in a spreadsheet), or: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {path.name} > new{path.suffix}"
        )
    return f"{path.name}: not UTF-8"
