"""Files that are there whole or not at all: a process that is killed while it writes one leaves what was there before."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tfl.lazy import pd


@contextlib.contextmanager
def written(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes `file` where the context ends well; where it does not, `file` is as it was."""
    draft = file.with_name(f".{file.name}.partial")
    draft.unlink(missing_ok=True)
    yield draft
    draft.replace(file)


def write_csv(table: pd.DataFrame, file: Any, *, header: bool = True) -> None:
    """Writes `table` to `file`, a path or an open file, without its index.

    Texts are quoted where one holds a carriage return, which else ends a row for whoever reads the file and for pandas, which
    wrote it, does not.
    """
    texts = table.select_dtypes(["object", "string"])
    broken = any("\r" in cell for name in texts for cell in texts[name] if isinstance(cell, str))
    table.to_csv(file, index=False, header=header, quoting=csv.QUOTE_NONNUMERIC if broken else csv.QUOTE_MINIMAL)


def write_text(file: Path, text: str) -> None:
    """Writes `text` to `file` as UTF-8."""
    with written(file) as draft:
        draft.write_text(text, encoding="utf-8")
