"""Files that carry the digest of their bytes in their names: whole or not there at all, and a changed byte is found."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

DIGITS = 32
"""Hexadecimal digits of a digest (SHA-256, its first half)."""
CHUNK = 1 << 22


class Damaged(Exception):
    """A file that is not what its name says."""


def digest_of(data: bytes) -> str:
    """The digest of `data`, `DIGITS` long."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def write(folder: Path, stem: str, suffix: str, data: bytes, *, sync: bool = False) -> Path:
    """Writes `data` to `<stem>-<digest><suffix>` in `folder` and returns the file; under another name until it is whole.

    `sync`: it is on the disk, and not only on its way, when this returns. Raises `OSError` where the disk is full;
    nothing is left behind then.
    """
    name = f"{stem}-{digest_of(data)}{suffix}"
    draft = folder / f".{name}.{os.getpid()}"
    try:
        with draft.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(folder / name)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return folder / name


def check(path: Path) -> None:
    """Raises `Damaged` where the bytes of the file are not those that its name was made of.

    Where it cannot be read now, that is an `OSError`, and says nothing of what is in it.
    """
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    if state.hexdigest()[:DIGITS] != path.stem.rpartition("-")[2]:
        raise Damaged(f"{path}: its content is not what was written")
