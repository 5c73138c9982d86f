"""Where examples come from: the table of sources, one module each, and `load`, which makes splits of any of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tfl.config import UserError, did_you_mean
from tfl.data import digits, earnings_calls, folder, memory, npz, table, tfds, tfrecord
from tfl.data.again import concatenate, label_name, labelled
from tfl.data.config import DataConfig
from tfl.data.examples import Columns, Examples, Records, Stream, Unreadable
from tfl.data.guess import guess
from tfl.data.memory import from_memory
from tfl.data.splits import Splits, split

SOURCES: dict[str, ModuleType] = {
    "folder": folder,
    "table": table,
    "tfds": tfds,
    "tfrecord": tfrecord,
    "npz": npz,
    "digits": digits,
    "earnings_calls": earnings_calls,
    "memory": memory,
}
"""Every source: its module has a `Config` (a `DataConfig`) and `read(config, seed) -> Records`."""

AnyConfig = (
    folder.Config
    | table.Config
    | tfds.Config
    | tfrecord.Config
    | npz.Config
    | digits.Config
    | earnings_calls.Config
    | memory.Config
)
"""The config of any source; its field `source` says which."""


def load(config: DataConfig, seed: int = 0, *, data: Any = None) -> Splits:
    """The examples that `config` describes, cut and checked: same config, same seed, same files, same splits.

    With `data` (a DataFrame or a pair of inputs and labels), `config` is a `memory.Config`. Raises `UserError` for
    whatever is wrong with the data.
    """
    if config.source not in SOURCES:
        raise UserError(
            f"source: {config.source!r} is not valid{did_you_mean(config.source, SOURCES)}; one of {', '.join(SOURCES)}"
        )
    if isinstance(config, memory.Config) and data is not None:
        return split(from_memory(data, config), config, seed)
    return split(SOURCES[config.source].read(config), config, seed)


__all__ = [
    "SOURCES",
    "AnyConfig",
    "Columns",
    "DataConfig",
    "Examples",
    "Records",
    "Splits",
    "Stream",
    "Unreadable",
    "concatenate",
    "from_memory",
    "guess",
    "label_name",
    "labelled",
    "load",
    "split",
]
