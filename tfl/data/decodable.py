"""Images that were seen to decode, remembered by their content: a run decodes none again to see that it can be read.

A photo of twelve megapixels takes ten times as long to be decoded for this as to be hashed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfl import cache
from tfl.data import scan
from tfl.data.seen import short
from tfl.lazy import tf
from tfl.locks import lock

NAME = "decodable"
RULES = 1
"""Another number where `scan` refuses what it let pass."""
LIMIT = 1 << 24
"""Images that are remembered, in 8 bytes each; where there are more when a run begins, all are forgotten."""
ENTRY = np.dtype("<u8")


class Decodable:
    """What was remembered when this was made."""

    def __init__(self) -> None:
        self._file = cache.root() / f"{NAME}-{RULES}-tensorflow-{tf.__version__}"
        self._known = np.empty(0, ENTRY)
        with contextlib.suppress(OSError):  # it is not there yet, or may not be read
            if self._file.stat().st_size > LIMIT * ENTRY.itemsize:
                self._file.unlink()
            self._known = np.unique(np.fromfile(self._file, ENTRY))

    def unreadable(self, items: Sequence[str | bytes], digests: np.ndarray) -> list[tuple[int, str]]:
        """(index, short reason) of those of `items`, paths or encoded images, that can't be read or decoded; in order.

        `digests`: [N] S32, of the content of each. Those that are not remembered are decoded, and remembered if they can be.
        """
        content = short(digests)
        new = [place for place, known in enumerate(self._has(content)) if not known or scan.unnamable(items[place])]
        bad = [(new[place], reason) for place, reason in scan.unreadable([items[place] for place in new])]
        if good := sorted(set(new) - {place for place, _ in bad}):
            self._remember(content[good])
        return bad

    def _has(self, content: np.ndarray) -> np.ndarray:
        if not len(self._known):
            return np.zeros(len(content), bool)
        place = np.minimum(np.searchsorted(self._known, content), len(self._known) - 1)
        return np.asarray(self._known[place] == content)

    def _remember(self, content: np.ndarray) -> None:
        with contextlib.suppress(OSError):  # the disk is full, or may only be read: the next run decodes them again
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                lock(file, exclusive=True)
                size = os.fstat(file.fileno()).st_size
                file.truncate(size - size % ENTRY.itemsize)  # the rest is of a process that was killed while it wrote
                file.write(content.astype(ENTRY).tobytes())


def forget(folder: Path) -> None:
    """Forgets all that is remembered below `folder`."""
    for file in folder.glob(f"{NAME}-*"):
        file.unlink(missing_ok=True)
