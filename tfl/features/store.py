"""The store on disk: one folder a key, shards in it, and a budget over all.

<root>/<key>/about.json     what the rows are, for people; its time of change says when they were last used
<root>/<key>/*.safetensors  the shards
<root>/<key>/.fill, .use    locks: who fills has the first alone, who reads shares the second
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import sealed
from tfl.config import UserError
from tfl.features import shard as shards
from tfl.features.config import size_of
from tfl.features.shard import SUFFIX, Shard
from tfl.locks import lock
from tfl.sealed import Damaged

ABOUT, FILL, USE = "about.json", ".fill", ".use"
POLL = 0.1
"""Seconds between two looks at whether another process has filled."""


def default_root() -> Path:
    """Where the store is if nobody says: the environment variable TFL_CACHE, or tfl/features in the user's cache folder."""
    if os.environ.get("TFL_CACHE"):
        return Path(os.environ["TFL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfl" / "features"


@dataclass(frozen=True)
class Place:
    """Where rows are: number of the shard and of the row in it, [N] int64 each; -1 where a row is not there."""

    shard: np.ndarray
    row: np.ndarray


class Entry:
    """The rows of one key. While this object lives, nobody clears them away; the folder is made by the first filling."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder, about
        self._use: Any = None
        self.shards: list[Shard] = []
        self.damaged = 0
        """Files that were not what they had been written as, and are gone; their rows are computed again."""
        self._known: dict[str, Shard] = {}
        if folder.is_dir():
            self._open()
        self.refresh()

    def open(self) -> None:
        """Makes the folder, where there is none, and takes in what is there; nobody clears it from now on."""
        self._open()
        self.refresh()

    def _open(self) -> None:
        while self._use is None or os.fstat(self._use.fileno()).st_nlink == 0:  # somebody cleared the folder just now
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ABOUT).exists():
                draft = self.folder / f".{ABOUT}.{os.getpid()}"
                draft.write_text(json.dumps(self.about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
                draft.replace(self.folder / ABOUT)
            try:
                self._use = (self.folder / USE).open("a")
            except OSError:  # a store that may only be read
                self._use = (self.folder / USE).open()
            lock(self._use, exclusive=False)

    def close(self) -> None:
        """Gives the entry free."""
        if self._use is not None:
            self._use.close()

    def used(self) -> None:
        """Notes that the entry was used just now."""
        with contextlib.suppress(OSError):  # it was never filled, or may only be read
            os.utime(self.folder / ABOUT)

    def refresh(self) -> None:
        """Takes in what is there now; new files are checked, and damaged ones removed."""
        there = os.listdir(self.folder) if self.folder.is_dir() else []
        names = sorted(name for name in there if name.endswith(SUFFIX) and not name.startswith("."))
        with ThreadPoolExecutor(2) as pool:  # hashing and reading leave Python's lock
            for name, found in zip(names, pool.map(self._checked, names), strict=True):
                if found is None:
                    self.damaged += 1
                    with contextlib.suppress(OSError):
                        (self.folder / name).unlink()
                else:
                    self._known.setdefault(name, found)
        self.shards = list(self._known.values())  # new ones behind the others: the numbers of a `Place` stay
        ids = [part.ids for part in self.shards]
        self._ids = np.concatenate(ids) if ids else np.empty(0, "S32")
        self._order = np.argsort(self._ids, kind="stable")
        self._sorted = self._ids[self._order]
        self._shard_of = np.repeat(np.arange(len(ids)), [len(part) for part in ids]).astype(np.int64)
        self._row_of = np.concatenate([np.arange(len(part)) for part in ids]) if ids else np.empty(0, np.int64)

    def _checked(self, name: str) -> Shard | None:
        if name in self._known:
            return self._known[name]
        path = self.folder / name
        try:
            sealed.check(path)
            return shards.read(path)
        except Damaged:
            return None

    def find(self, ids: np.ndarray) -> Place:
        """Where the rows `ids` ([N] S32) are."""
        if not len(self._sorted):
            return Place(np.full(len(ids), -1), np.full(len(ids), -1))
        place = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        at = self._order[place]
        there = self._sorted[place] == ids
        return Place(np.where(there, self._shard_of[at], -1), np.where(there, self._row_of[at], -1))

    def write(self, ids: np.ndarray, columns: Mapping[str, Any], lengths: np.ndarray | None) -> int:
        """Writes the rows `ids` as one shard (see `shard.write`) and returns its bytes."""
        return shards.write(self.folder, ids, columns, lengths).stat().st_size

    @contextlib.contextmanager
    def filling(self, wait: Callable[[], None], stop: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """Within this context no other process fills this entry; `wait` is called first where another one does now.

        Yields whether that is so: it is not where `stop` said so while it waited.
        """
        self._open()
        with (self.folder / FILL).open("a") as file:
            mine = lock(file, exclusive=True, wait=False)
            if not mine:
                wait()
            while not mine and not stop():
                time.sleep(POLL)
                mine = lock(file, exclusive=True, wait=False)
            if not mine:
                self.refresh()
                yield False
                return
            for draft in self.folder.glob(f".*{SUFFIX}.*"):  # of a process that was killed while writing
                draft.unlink(missing_ok=True)
            self.refresh()
            yield True
            self.refresh()


@dataclass(frozen=True)
class Info:
    """What is known of an entry without opening its shards."""

    key: str
    about: dict[str, Any]
    shards: int
    bytes: int
    used: float
    """Seconds since 1970."""


class Store:
    """All entries below `root`, which together keep to `budget`: a fraction of the disk, or a size in words."""

    def __init__(self, root: Path | None = None, budget: float | str = 0.5) -> None:
        self.root = root or default_root()
        self.budget = budget

    def entry(self, key: str, about: Mapping[str, Any]) -> Entry:
        """The entry of `key`; empty where the store has none."""
        entry = Entry(self.root / key, about)
        entry.used()
        return entry

    def infos(self) -> list[Info]:
        """All entries, the last used first."""
        found = []
        for about in self.root.glob(f"*/{ABOUT}") if self.root.is_dir() else ():
            with contextlib.suppress(OSError, ValueError):
                sizes = [file.stat().st_size for file in about.parent.glob(f"*{SUFFIX}")]
                read = json.loads(about.read_text(encoding="utf-8"))
                found.append(Info(about.parent.name, read, len(sizes), sum(sizes), about.stat().st_mtime))
        return sorted(found, key=lambda info: -info.used)

    def room(self) -> int:
        """Bytes that the store may take in all."""
        there = next(above for above in (self.root, *self.root.parents) if above.exists())
        return size_of(self.budget, shutil.disk_usage(there).free + sum(info.bytes for info in self.infos()))

    def fits(self, needed: int) -> bool:
        """Whether `needed` more bytes fit the budget, if what nobody uses makes way for them."""
        return needed == 0 or needed + sum(info.bytes for info in self.infos() if self._in_use(info.key)) <= self.room()

    def make_room(self, needed: int) -> None:
        """Removes entries that nobody uses, the oldest first, until `needed` more bytes fit the budget."""
        infos = self.infos()
        taken, room = sum(info.bytes for info in infos), self.room()
        for info in reversed(infos):
            if taken + needed <= room:
                break
            if self.remove(info.key):
                taken -= info.bytes

    def _in_use(self, key: str) -> bool:
        with contextlib.suppress(FileNotFoundError), (self.root / key / USE).open("a") as file:
            return not lock(file, exclusive=True, wait=False)
        return False

    def remove(self, key: str) -> bool:
        """Removes the entry of `key`; False where somebody uses it."""
        folder = self.root / key
        with contextlib.suppress(FileNotFoundError), (folder / USE).open("a") as file:
            if not lock(file, exclusive=True, wait=False):
                return False
            shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    def verify(self, key: str) -> tuple[int, int]:
        """Reads every byte of an entry: how many shards are whole, and how many were damaged and are now gone."""
        entry = Entry(self.root / key, {})
        try:
            return len(entry.shards), entry.damaged
        finally:
            entry.close()

    def rows(self, key: str) -> int:
        """How many rows the entry of `key` has."""
        return sum(len(shards.read(path).ids) for path in (self.root / key).glob(f"[!.]*{SUFFIX}"))

    def named(self, words: Sequence[str]) -> list[Info]:
        """The entries whose keys begin with one of `words`. Raises `UserError` for a word that none begins with."""
        infos = self.infos()
        for word in words:
            if not word or not any(info.key.startswith(word) for info in infos):
                raise UserError(f"{word!r} is not the key of an entry in {self.root}; `tfl cache list` shows them")
        return [info for info in infos if any(info.key.startswith(word) for word in words)]
