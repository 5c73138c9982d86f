"""Files of tensors that carry the digest of their bytes in their names: whole or not there at all, and a changed byte is found.

They are safetensors files, written straight from the arrays. `safetensors.numpy.save` makes a copy of all of them first, which
takes longer than the digest and the writing together; `save_file` says of a full disk what is no `OSError`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

DIGITS = 32
"""Hexadecimal digits of a digest (SHA-256, its first half)."""
CHUNK = 1 << 22
DTYPES = {"bool": "BOOL", "bfloat16": "BF16", "float16": "F16", "float32": "F32", "float64": "F64"} | {
    f"{kind}{bits}": f"{kind[0].upper()}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)
}
"""What safetensors calls NumPy's dtypes."""


class Damaged(Exception):
    """A file that is not what its name says."""


def digest_of(data: bytes) -> str:
    """The digest of `data`, `DIGITS` long."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def write(
    folder: Path, stem: str, suffix: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, str], *, sync: bool = False
) -> Path:
    """Writes `arrays`, with `about` in the header, to `<stem>-<digest><suffix>` in `folder` and returns the file.

    It has another name until it is whole. `sync`: it is on the disk, and not only on its way, when this returns. Raises
    `OSError` where the disk is full; nothing is left behind then.
    """
    draft = folder / f".{stem}-draft{suffix}.{os.getpid()}"
    state = hashlib.sha256()
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # each begins at a multiple of its own size
    parts: list[bytes | memoryview] = [_header(names, arrays, about), *(_bytes(arrays[name]) for name in names)]
    try:
        with draft.open("wb") as file:
            for part in parts:
                state.update(part)
                file.write(part)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        whole = folder / f"{stem}-{state.hexdigest()[:DIGITS]}{suffix}"
        draft.replace(whole)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    return whole


def _header(names: list[str], arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with: the length of a JSON text, and that text, filled up to a multiple of 8."""
    header: dict[str, object] = {"__metadata__": dict(about)}
    begin = 0
    for name in names:
        end = begin + arrays[name].nbytes
        header[name] = {"dtype": DTYPES[arrays[name].dtype.name], "shape": arrays[name].shape, "data_offsets": (begin, end)}
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of `array`; no copy where they lie in a row."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


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
