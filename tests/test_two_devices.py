"""Whole runs on two logical CPU devices, in a process of their own, since devices are fixed when TensorFlow starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
START = """
import sys
import tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np, pandas as pd, tfl
from tfl import Last, Lora, Phase
out, bert, photos, calls = sys.argv[1:]
def run(name, **fields):
    made = tfl.finetune(out=f"{out}/{name}", distribute="mirrored", **fields)
    assert made.report.hardware["replicas"] == 2
    assert len(pd.read_csv(made.directory / "predictions.csv")) == made.report.data["sizes"]["test"]
    return made
"""
TEXTS = """
data = {"label": "tone", "batch_size": 8}
phases = [Phase(trainable=Lora(lora=2), epochs=1), Phase(trainable="all", epochs=1, layer_decay=0.9)]
texts = run("texts", source=calls, backbone=bert, data=data, phases=phases)
assert all(phase.moved.still == () for phase in texts.report.phases)
assert len(tfl.load(texts.directory).predict(["sales rose"])) == 1
budget = {**data, "max_tokens": 40}  # batches of 2 and 4
run("budget", source=calls, backbone=bert, data=budget, phases=[Phase(trainable="all", epochs=1)], features=None)
"""
IMAGES = """
random = np.random.default_rng(0)
labels = np.arange(41) % 2  # 6 to test on, 6 to validate on, 29 to train on: 29 = 2 * 14 + 1, and 6 = 5 + 1
images = random.integers(0, 255, (41, 32, 32, 3)).astype(np.uint8)
phases = [Phase(epochs=1), Phase(trainable=Last(last=1), epochs=1, batch_norm="train")]
backbone = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
for size in (14, 5):  # two runs in one process
    made = run(f"images{size}", source=(images, labels), backbone=backbone, data={"batch_size": size}, phases=phases)
    assert all(phase.moved.changed > 0 for phase in made.report.phases)
"""


@pytest.mark.parametrize("code", [TEXTS, IMAGES], ids=["texts", "images"])
def test_a_whole_run_on_two_devices(code: str, tiny_bert: Path, photos: Path, calls: Path, tmp_path: Path) -> None:
    arguments = [str(path) for path in (tmp_path, tiny_bert, photos, calls)]
    done = subprocess.run(
        [sys.executable, "-c", f"{START}\n{code}\nprint('whole')", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "whole" in done.stdout, done.stderr[-3000:]
