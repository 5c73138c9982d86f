"""The other columns of the table that examples come from: what a source does not read, by the ids that it gives."""

from __future__ import annotations

from typing import Any

from tfl.config import UserError
from tfl.data import earnings_calls, table
from tfl.data.config import DataConfig
from tfl.lazy import pd


def columns_of(config: DataConfig) -> pd.DataFrame:
    """The table or tables of `config` as one, by the ids of the examples. Raises `UserError` for a source without columns."""
    found: list[Any]
    if isinstance(config, table.Config):
        found = table.parts(config)
    elif isinstance(config, earnings_calls.Config):
        found = earnings_calls.parts()
    else:
        raise UserError(f"the source {config.source} has no columns; a table has (`tfl list sources`)")
    frame = pd.concat([part.frame for part in found], ignore_index=True)
    frame.index = pd.Index([f"{part.origin}:{line}" for part in found for line in part.frame[table.LINE]], dtype=object)
    return frame.drop(columns=table.LINE)
