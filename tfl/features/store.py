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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfl import cache, sealed
from tfl.config import UserError
from tfl.features import shard as shards
from tfl.features.config import size_of
from tfl.features.shard import SUFFIX, Shard
from tfl.locks import lock
from tfl.sealed import Damaged

ABOUT, FILL, USE = "about.json", ".fill", ".use"
POLL = 0.1
"""Seconds between two looks at whether another process has filled."""


@dataclass(frozen=True)
class Place:
    """Where rows are: number of the shard and of the row in it, [N] int64 each; -1 where a row is not there."""

    shard: np.ndarray
    row: np.ndarray


def _is_whole(path: Path) -> bool | None:
    """Whether a shard is what was written; None where it is not there, since another process found it damaged just now."""
    try:
        sealed.check(path)
    except FileNotFoundError:
        return None
    except Damaged:
        return False
    return True


def _about(folder: Path) -> dict[str, Any] | None:
    """What is noted of the entry in `folder`; None where nothing is, or where a power cut has taken it."""
    try:
        found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


class Entry:
    """The rows of one key. While this object lives, nobody clears them away; the folder is made by the first filling."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder, self.about = folder, about
        self._use: Any = None
        self.shards: list[Shard] = []
        """In the order in which they were found: the numbers of a `Place` stay."""
        self.damaged = 0
        """Files that were not what they had been written as, and are gone; their rows are computed again."""
        self._whole: set[int] = set()
        """The numbers of the shards whose bytes were checked, all of them."""
        self._gone: set[int] = set()
        """The numbers of the shards that were not whole."""
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
            if _about(self.folder) is None:
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
        """Takes in what is there now. Of new files the ids are checked; all of their bytes are when rows of them are wanted."""
        there = os.listdir(self.folder) if self.folder.is_dir() else []
        names = {name for name in there if name.endswith(SUFFIX) and not name.startswith(".")}
        for name in sorted(names - {self.shards[number].path.name for number in self._here()}):
            with contextlib.suppress(FileNotFoundError):  # another process found it damaged just now
                try:
                    self.shards.append(shards.read(self.folder / name))
                except Damaged:
                    self._remove(self.folder / name)
        self._index()

    def _here(self) -> list[int]:
        """The numbers of the shards that are not gone."""
        return [number for number in range(len(self.shards)) if number not in self._gone]

    def _remove(self, damaged: Path) -> None:
        self.damaged += 1
        with contextlib.suppress(OSError):
            damaged.unlink()

    def _index(self) -> None:
        """Sorts the ids of all shards, to find rows by them."""
        numbers = self._here()
        ids = [self.shards[number].ids for number in numbers]
        everything = np.concatenate(ids) if ids else np.empty(0, "S32")
        self._order = np.argsort(everything, kind="stable")
        self._sorted = everything[self._order]
        self._shard_of = np.repeat(np.array(numbers, np.int64), [len(part) for part in ids])
        self._row_of = np.concatenate([np.arange(len(part)) for part in ids]) if ids else np.empty(0, np.int64)

    def find(self, ids: np.ndarray) -> Place:
        """Where the rows `ids` ([N] S32) are. The files that hold them are whole: damaged ones are found here, and removed."""
        place = self._look_up(ids)
        while not self.check(np.unique(place.shard[place.shard >= 0]).tolist()):
            place = self._look_up(ids)
        return place

    def _look_up(self, ids: np.ndarray) -> Place:
        if not len(self._sorted):
            return Place(np.full(len(ids), -1), np.full(len(ids), -1))
        place = np.minimum(np.searchsorted(self._sorted, ids), len(self._sorted) - 1)
        at = self._order[place]
        there = self._sorted[place] == ids
        return Place(np.where(there, self._shard_of[at], -1), np.where(there, self._row_of[at], -1))

    def check(self, numbers: Iterable[int] | None = None) -> bool:
        """Reads every byte of the shards `numbers`, or of all, that was not read before; False where one was damaged."""
        known = self._whole | self._gone
        new = [one for one in (range(len(self.shards)) if numbers is None else numbers) if one not in known]
        if not new:
            return True
        with ThreadPoolExecutor(2) as pool:  # hashing and reading leave Python's lock
            found = list(pool.map(_is_whole, [self.shards[one].path for one in new]))
        for one, whole in zip(new, found, strict=True):
            (self._whole if whole else self._gone).add(one)
            if whole is False:
                self._remove(self.shards[one].path)
        if not all(found):
            self._index()
        return all(found)

    @property
    def whole(self) -> int:
        """Files that were checked and found whole."""
        return len(self._whole)

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
        self.root = root or cache.root()
        self.budget = budget

    def entry(self, key: str, about: Mapping[str, Any]) -> Entry:
        """The entry of `key`; empty where the store has none."""
        entry = Entry(self.root / key, about)
        entry.used()
        return entry

    def infos(self) -> list[Info]:
        """All entries, the last used first."""
        found = []
        for used in self.root.glob(f"*/{USE}") if self.root.is_dir() else ():
            with contextlib.suppress(OSError):  # it is being cleared
                sizes = [file.stat().st_size for file in used.parent.glob(f"*{SUFFIX}")]
                about, noted = _about(used.parent), used.parent / ABOUT
                if sizes or about is not None:
                    time = (noted if noted.exists() else used).stat().st_mtime
                    found.append(Info(used.parent.name, about or {}, len(sizes), sum(sizes), time))
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
            entry.check()
            return entry.whole, entry.damaged
        finally:
            entry.close()

    def rows(self, key: str) -> int:
        """How many rows the entry of `key` has; those of damaged files do not count."""
        count = 0
        for path in (self.root / key).glob(f"[!.]*{SUFFIX}"):
            with contextlib.suppress(Damaged, FileNotFoundError):
                count += len(shards.read(path).ids)
        return count

    def named(self, words: Sequence[str]) -> list[Info]:
        """The entries whose keys begin with one of `words`. Raises `UserError` for a word that none begins with."""
        infos = self.infos()
        for word in words:
            if not word or not any(info.key.startswith(word) for info in infos):
                raise UserError(f"{word!r} is not the key of an entry in {self.root}; `tfl cache list` shows them")
        return [info for info in infos if any(info.key.startswith(word) for word in words)]
