"""Sealed files: what is written is what safetensors reads, and a file is whole or not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tfl import sealed

ARRAYS: dict[str, np.ndarray] = {
    "scalar": np.array(3.5, np.float32),
    "not in a row": np.arange(15, dtype=np.float64).reshape(3, 5).T,
    "flags": np.array([True, False, True]),
    "umlaut ä": np.arange(-2, 2, dtype=np.int64),
    "state": np.array([1, 2**32 - 1], np.uint32),
    "empty": np.empty((0, 3), np.float16),
    "half": np.arange(3).astype(ml_dtypes.bfloat16),
}


def test_safetensors_reads_what_was_written(tmp_path: Path) -> None:
    path = sealed.write(tmp_path, "000001", ".safetensors", ARRAYS, {"about": '{"größe": 1}'})
    sealed.check(path)
    found = load_file(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"about": '{"größe": 1}'}
    assert sealed.write(tmp_path, "000001", ".safetensors", dict(reversed(ARRAYS.items())), {"about": '{"größe": 1}'}) == path
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        sealed.write(tmp_path, "000001", ".safetensors", ARRAYS, {}, sync=True)
    assert not list(tmp_path.iterdir())


def test_one_flipped_bit_is_found(tmp_path: Path) -> None:
    path = sealed.write(tmp_path, "000001", ".safetensors", ARRAYS, {})
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(sealed.Damaged, match="not what was written"):
        sealed.check(path)
