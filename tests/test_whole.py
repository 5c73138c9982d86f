"""Files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfl.whole import write_text, written


def test_what_breaks_off_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    write_text(file, "old, ä\n")
    with pytest.raises(OSError, match="full"):
        _broken_off(file)
    assert file.read_text(encoding="utf-8") == "old, ä\n"
    write_text(file, "new\n")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"], "the draft that broke off is gone as well"
    assert file.read_text(encoding="utf-8") == "new\n"


def _broken_off(file: Path) -> None:
    with written(file) as draft:
        draft.write_text("ne")
        raise OSError("the disk is full")
