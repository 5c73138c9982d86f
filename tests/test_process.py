"""What a run changes of the process, it gives back."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import config as framework

import tfl

SMALL: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "phases": [tfl.Phase(epochs=1)],
    "precision": "mixed_bfloat16",
}


@pytest.mark.parametrize("before", [False, True])
def test_a_run_gives_back_what_it_can(before: bool, photos: Path, tmp_path: Path) -> None:
    (framework.enable_op_determinism if before else framework.disable_op_determinism)()
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    options = tf.config.optimizer.get_experimental_options().get("arithmetic_optimization", True)
    tfl.finetune(str(photos), out=tmp_path / "run", **SMALL)
    assert (random.random(), np.random.rand()) == expected
    assert framework.is_op_determinism_enabled() == before
    assert keras.config.dtype_policy().name == "float32"
    assert tf.config.optimizer.get_experimental_options()["arithmetic_optimization"] == options
    framework.disable_op_determinism()
