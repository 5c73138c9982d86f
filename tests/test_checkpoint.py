"""Checkpoints as such: what is in their files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from safetensors.numpy import load_file

from tfl import sealed
from tfl.checkpoint import Checkpoints, Config, Recorder


def test_a_checkpoint_that_is_being_written_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sealed.write

    def slow(*args: Any, **fields: Any) -> Path:
        time.sleep(0.3)
        return real(*args, **fields)

    monkeypatch.setattr(sealed, "write", slow)
    checkpoints = Checkpoints(tmp_path, Config(), print)
    variable = tf.Variable(tf.zeros(1000))
    recorder = Recorder(checkpoints, {}, {"a": variable})
    recorder.write(None)
    variable.assign(tf.ones(1000))
    recorder.write(None, wait=True)
    assert [float(load_file(path)["model/a"].max()) for path in checkpoints.files()] == [0, 1]
