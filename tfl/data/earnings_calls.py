"""Sentences in the manner of earnings calls, embedded: tone, figure or not, and part of the call. Invented.

The text was written for this project; the companies do not exist. See `embedded/earnings_calls.md`. No company is on
two sides of the split.
"""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tfl.data.config import DataConfig
from tfl.data.examples import Records

if TYPE_CHECKING:
    from tfl.data.frames import Part


@dataclass(frozen=True, kw_only=True)
class Config(DataConfig):
    """The embedded sentences, with one of their labels."""

    source: Literal["earnings_calls"] = "earnings_calls"
    label: Literal["tone", "kpi", "part"] = "tone"
    """tone: negative, neutral, positive | kpi: yes where a metric comes with a figure, else no | part: answer,
    prepared, question."""


def read(config: Config) -> Records:
    """The sentences, grouped by company."""
    resource = importlib.resources.files("tfl.data") / "embedded" / "earnings_calls.csv"
    with importlib.resources.as_file(resource) as path:
        return read_sentences(path, config)


def read_sentences(path: Path, config: Config) -> Records:
    """The sentences in a CSV file with columns text, tone, kpi, part, company and quarter."""
    from tfl.data.frames import frame_records
    from tfl.data.table import ColumnConfig

    columns = ColumnConfig(source="table", text="text", label=config.label, kind="classification", group="company")
    return frame_records([_part(path)], columns)


def parts() -> list[Part]:
    """The embedded table."""
    resource = importlib.resources.files("tfl.data") / "embedded" / "earnings_calls.csv"
    with importlib.resources.as_file(resource) as path:
        return [_part(path)]


def _part(path: Path) -> Part:
    from tfl.data.frames import Part
    from tfl.data.table import read_table

    return Part(name="all", frame=read_table(path), origin=path.name, folder=path.parent, typed=False)
