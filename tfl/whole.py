"""Files that are there whole or not at all: a process that is killed while it writes one leaves what was there before."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def written(file: Path) -> Iterator[Path]:
    """A path to write to, which becomes `file` where the context ends well; where it does not, `file` is as it was."""
    draft = file.with_name(f".{file.name}.partial")
    draft.unlink(missing_ok=True)
    yield draft
    draft.replace(file)


def write_text(file: Path, text: str) -> None:
    """Writes `text` to `file` as UTF-8."""
    with written(file) as draft:
        draft.write_text(text, encoding="utf-8")
