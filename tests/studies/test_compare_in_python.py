"""A comparison of what is given in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tfl
from tests.conftest import WORDS
from tfl.config import UserError


def table() -> pd.DataFrame:
    """Short texts of which one word tells the class."""
    texts = [f"{WORDS[4 + number % 9]} {'rose' if number % 2 else 'fell'} {WORDS[number % 5 + 7]}" for number in range(60)]
    return pd.DataFrame({"text": texts, "tone": ["good" if number % 2 else "bad" for number in range(60)]})


def test_a_table_in_memory_is_compared_on_and_goes_on(tiny_bert: Path, tmp_path: Path, capsys: Any) -> None:
    fields = {"data": {"label": "tone", "batch_size": 8}, "labels": [3, "all"], "methods": ["head"], "seeds": 2, "updates": 4}
    done = tfl.compare(table(), backbone=str(tiny_bert), out=tmp_path / "c", **fields)
    primary, *others = done.effects
    assert (primary.primary, primary.method, primary.labels, primary.measure) == (True, "head", "all", "end")
    assert len(others) == 5
    assert (tmp_path / "c" / "compare.json").is_file()
    capsys.readouterr()
    again = tfl.compare(table(), backbone=str(tiny_bert), out=tmp_path / "c", **fields)
    assert "updates," not in capsys.readouterr().out, "nothing is trained again"
    assert again.effects == done.effects


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"methods": ["heads"]}, "'heads' is not valid; one of scratch, head"),
        ({"labels": [5, 0]}, "'0' is not valid; labels a class"),
        ({"weights": "none"}, "none is what scratch has already"),
    ],
)
def test_mistakes_are_named(fields: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        tfl.compare(table()[:0], backbone="minilm", out=tmp_path / "c", **fields)
