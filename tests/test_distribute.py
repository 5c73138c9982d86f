"""What is said where a strategy cannot be had."""

from __future__ import annotations

import pytest

from tfl import distribute
from tfl.config import UserError
from tfl.lazy import tf


def test_no_tpu_is_said_by_the_line_that_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(name: str) -> None:
        raise RuntimeError(
            "Graph execution error:\n\nDetected at node x (most recent call last):\n<no stack>\nthe platform is away\nmore"
        )

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", away)
    with pytest.raises(UserError, match=r"no TPU was found \(the platform is away\).*libtpu"):
        distribute._tpu()


@pytest.mark.parametrize(("name", "replicas"), [("gpu", 1), ("auto", 2), ("mirrored", 2)])
def test_gpu_is_one_of_several(name: distribute.Name, replicas: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    gpus = [tf.config.LogicalDevice(f"/device:GPU:{place}", "GPU") for place in range(2)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: gpus)
    monkeypatch.setattr(tf.distribute, "OneDeviceStrategy", lambda device: made.append(1))
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda devices=None: made.append(len(devices or gpus)))
    monkeypatch.setattr(distribute, "_without_optionals", lambda one: one)
    monkeypatch.delenv("TPU_NAME", raising=False)
    distribute.strategy.__wrapped__(name)
    assert made == [replicas]
