"""Several workers, on this machine, train to what one process trains to. Each is a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tfl
from tfl.launch import _free_ports

pytestmark = pytest.mark.alone

ROOT = Path(__file__).resolve().parents[1]
START = """
import json, os, sys
import numpy as np
import tensorflow as tf
jobs, devices, weights = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if devices > 1:
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * devices)
    from tensorflow.python.distribute import collective_all_reduce_strategy as own
    def each(self, resolver, worker):  # TensorFlow takes every GPU of a worker, but one CPU: these stand for GPUs
        return tuple(f"{worker}/device:CPU:{number}" for number in range(devices)), "CPU"
    own.CollectiveAllReduceExtended._initialize_local_devices = each
import tfl
from tfl.methods.session import Session
finish = Session.finish
def watched(self, config, splits, backbone, model, *rest):
    values = [v.numpy() for v in model.variables if "seed_generator" not in v.path]
    np.savez(f"{weights}-{self.workers.index}.npz", *values)
    print("computed", [phase.features.get("computed", 0) for phase in rest[1]])
    return finish(self, config, splits, backbone, model, *rest)
Session.finish = watched
for job in jobs:
    run = tfl.finetune(**job)
    print("replicas", run.report.hardware["replicas"])
"""
SGD: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 1e-2, "epochs": 1}
SMALL = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}


def start(code: str, arguments: Sequence[str], cluster: Sequence[int] = (), index: int = 0) -> subprocess.Popen[str]:
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if cluster:
        workers = {"worker": [f"127.0.0.1:{port}" for port in cluster]}
        env["TF_CONFIG"] = json.dumps({"cluster": workers, "task": {"type": "worker", "index": index}})
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, env=env, **pipes)


def trained(
    job: dict[str, Any], place: Path, *, workers: int = 1, devices: int = 1
) -> tuple[list[list[np.ndarray]], list[str]]:
    """The weights that each worker ends with, and what each printed."""
    name = f"{workers}x{devices}"
    features = {"directory": str(place / f"cache-{name}"), "engine": "tensorflow"}
    distribute = "multi_worker" if workers > 1 else "mirrored" if devices > 1 else "cpu"
    job = {"features": features, "distribute": distribute, **job, "out": str(place / name)}
    arguments = [json.dumps([job]), str(devices), str(place / f"weights-{name}")]
    cluster = _free_ports(workers) if workers > 1 else []
    started = [start(START, arguments, cluster, index) for index in range(workers)]
    told = [one.communicate(timeout=300)[0] for one in started]
    for one, text in zip(started, told, strict=True):
        assert one.returncode == 0, text[-3000:]
        assert f"replicas {workers * devices}" in text
    result = []
    for index in range(workers):
        with np.load(place / f"weights-{name}-{index}.npz") as held:
            result.append([held[f"arr_{number}"] for number in range(len(held.files))])
    return result, told


def difference(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """The largest, of any weight."""
    return max(float(np.abs(a - b).max(initial=0)) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def bert(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_bert` without dropout, whose masks differ by replica."""
    folder = tmp_path_factory.mktemp("bert") / "plain"
    shutil.copytree(tiny_bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config["config"]["dropout"] = 0.0
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def images(photos: Path, **fields: Any) -> dict[str, Any]:
    backbone = {"name": "resnet50", "weights": "none", "image_size": 32}
    phases = [{"trainable": what, "epochs": 1, **SGD} for what in ("head", "conv5", "all")]
    return {
        "source": str(photos),
        "backbone": backbone,
        "data": {"batch_size": 12},
        "task": {"dropout": 0.0},
        "phases": phases,
    } | fields


def texts(calls: Path, bert: Path, **fields: Any) -> dict[str, Any]:
    phases = [{"trainable": what, **SGD} for what in ("head", {"last": 1}, {"lora": 2}, "all")]
    data = {"label": "tone", "batch_size": 12, "test": 0.17}  # a rest that has a row for each replica
    return {"source": str(calls), "backbone": str(bert), "data": data, "task": {"dropout": 0.0}, "phases": phases} | fields


def covers_every_example_once(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text())
    ids = pd.read_csv(folder / "predictions.csv")["id"]
    assert len(ids) == len(set(ids)) == report["data"]["sizes"]["test"]


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_two_workers_end_with_the_same_weights_as_one(kind: str, photos: Path, calls: Path, bert: Path, tmp_path: Path) -> None:
    job = images(photos) if kind == "images" else texts(calls, bert)
    (alone,), _ = trained(job, tmp_path)
    both, told = trained(job, tmp_path, workers=2)
    assert difference(*both) == 0
    assert difference(alone, both[0]) < 1e-5
    covers_every_example_once(tmp_path / "2x1")
    computed = [json.loads(text.split("\ncomputed ")[1].splitlines()[0]) for text in told]
    assert all(min(parts) > 0 for parts in zip(*computed, strict=True) if sum(parts)), "each computes its part"


@pytest.mark.parametrize("kind", ["images", "texts"])
def test_so_do_two_devices_and_two_workers_of_two(kind: str, photos: Path, calls: Path, bert: Path, tmp_path: Path) -> None:
    phases = [{"trainable": what, "epochs": 1, **SGD} for what in ("head", {"last": 2}, "all")]
    job = images(photos, backbone=SMALL, phases=phases) if kind == "images" else texts(calls, bert)
    (alone,), _ = trained(job, tmp_path)
    for workers in (1, 2):
        found, _ = trained(job, tmp_path, workers=workers, devices=2)
        assert difference(found[0], found[-1]) == 0
        assert difference(alone, found[0]) < 1e-5
        covers_every_example_once(tmp_path / f"{workers}x2")


def test_adam_takes_two_workers_as_far_as_one_but_for_rounding(calls: Path, bert: Path, tmp_path: Path) -> None:
    phase = {"trainable": "all", "epochs": 3, "learning_rate": 1e-3}
    job = texts(calls, bert, phases=[phase], features=None)
    (alone,), _ = trained(job, tmp_path)
    both, _ = trained(job, tmp_path, workers=2)
    assert difference(*both) == 0
    assert difference(alone, both[0]) < 1e-5


def test_dropout_differs_by_replica_and_weights_do_not(photos: Path, tmp_path: Path) -> None:
    phase = {"trainable": {"last": 2}, "epochs": 2, "batch_norm": "train"}
    job = images(photos, task={"dropout": 0.5}, phases=[phase], data={"batch_size": 8})
    job["backbone"] = SMALL
    (alone,), _ = trained(job, tmp_path)
    both, _ = trained(job, tmp_path, workers=2)
    assert difference(*both) == 0
    assert difference(alone, both[0]) > 1e-5


CLI = "import sys; from tfl.cli import main; sys.exit(main(sys.argv[1:]))"


def test_a_worker_that_is_killed_ends_the_others_and_the_cluster_goes_on(photos: Path, tmp_path: Path) -> None:
    phases = "[{trainable: head, epochs: 40}]"
    small = ["backbone.weights=none", "backbone.image_size=32", "data.batch_size=8", "augment=null", f"phases={phases}"]

    def words(out: Path) -> list[str]:
        given = [f"features.directory={tmp_path / 'cache'}", "distribute=multi_worker", "checkpoints.steps=2"]
        return ["train", str(photos), "--backbone", "mobilenet_0.25", "--out", str(out), *small, *given]

    def pair(out: Path) -> list[subprocess.Popen[str]]:
        ports = _free_ports(2)
        return [start(CLI, words(out), ports, index) for index in range(2)]

    whole = pair(tmp_path / "whole")
    assert [one.communicate(timeout=200)[1] or one.returncode for one in whole] == [0, 0]
    for victim, epoch in ((1, 3), (0, 9)):  # the chief is number 0
        started = pair(tmp_path / "broken")
        killed, other = started[victim], started[1 - victim]
        assert other.stdout is not None
        head = list(itertools.takewhile(lambda line: f"epoch {epoch}/40" not in line, other.stdout))  # noqa: B023
        killed.kill()
        told = "".join(head) + other.communicate(timeout=60)[0]
        assert other.returncode == 75, told
        assert "another worker is gone" in told
        assert ("going on from a checkpoint" in told) == (victim == 0)
    again = pair(tmp_path / "broken")
    told = [one.communicate(timeout=200)[0] for one in again]
    assert [one.returncode for one in again] == [0, 0], told
    assert "going on from a checkpoint: phase 1, epoch" in told[0]
    one, two = (tfl.load(tmp_path / name).model.get_weights() for name in ("whole", "broken"))
    assert difference(one, two) == 0
