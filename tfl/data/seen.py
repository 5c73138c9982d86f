"""What a run was trained on and chose its epochs by, kept as short digests, so that a later evaluation on it is noticed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tfl.config import UserError
from tfl.data.splits import Splits


def short(digests: np.ndarray) -> np.ndarray:
    """[N] uint64: the first 16 hex digits of `digests`, [N] S32."""
    return np.array([int(one[:16], 16) for one in digests.tolist()], np.uint64)


def keep(splits: Splits, file: Path) -> None:
    """Writes what the train and validation splits hold to `file`, 8 bytes an example."""
    both = np.concatenate([splits.train.digests, splits.validation.digests])
    np.save(file, np.unique(short(both)), allow_pickle=False)


def count(file: Path, digests: np.ndarray) -> int:
    """How many of `digests` are of examples that were kept in `file`; 0 where it is not there."""
    if not file.is_file():
        return 0
    try:
        return int(np.isin(short(digests), np.load(file)).sum())
    except (ValueError, EOFError) as error:
        raise UserError(f"{file} is damaged; without it, an evaluation does not say which examples were trained on") from error
