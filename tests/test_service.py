"""Training images that a tf.data service reads: the same to the last bit, whatever becomes of the service."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tfl
from tests.test_resume import same
from tfl import Phase, data
from tfl.backbones import ImagePreprocess
from tfl.cli import main
from tfl.config import UserError
from tfl.data import served
from tfl.data.augment import Augment
from tfl.data.pipeline import ImageBatches
from tfl.launch import _free_ports
from tfl.share import Share

ROOT = Path(__file__).resolve().parents[1]
CLI = "import sys; from tfl.cli import main; sys.exit(main(sys.argv[1:]))"


def start(*words: str) -> subprocess.Popen[str]:
    """`tfl service …`, when it says that it is there."""
    command = [sys.executable, "-c", CLI, "service", *words]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def line(one: subprocess.Popen[str]) -> str:
    assert one.stdout is not None
    return one.stdout.readline()


@pytest.fixture(scope="module")
def processes() -> Iterator[tuple[str, list[subprocess.Popen[str]]]]:
    """The address of a service, and its processes: a dispatcher and two workers."""
    (port,) = _free_ports(1)
    started = [start("dispatcher", "--port", str(port))]
    assert line(started[0]).endswith(f":{port}\n")
    started += [start("worker", "--dispatcher", f"localhost:{port}") for _ in range(2)]
    assert [line(one) for one in started[1:]] == ["worker: localhost\n"] * 2
    yield f"grpc://localhost:{port}", started
    for one in started:
        one.kill()
        one.wait()


@pytest.fixture(scope="module")
def batches(photos: Path) -> ImageBatches:
    """28 photos in batches of 3, decoded, augmented and mixed."""
    examples = data.load(data.folder.Config(path=str(photos))).train
    preprocess = ImagePreprocess(size=(16, 16), mode="unit")
    augment = Augment(mixup=0.4, cutmix=0.5)
    common: dict[str, Any] = {"preprocess": preprocess, "size": (16, 16), "augment": augment, "training": True, "seed": 4}
    return ImageBatches(examples=examples, batch_size=3, **common)


def equal(one: tf.data.Dataset, other: tf.data.Dataset) -> None:
    assert one.element_spec.keys() == other.element_spec.keys()
    for name, spec in one.element_spec.items():
        assert spec.is_compatible_with(other.element_spec[name]), name
    for first, second in zip(one.as_numpy_iterator(), other.as_numpy_iterator(), strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


class Scrambled:
    """What comes from a service in an order of its own, number 5 not at all."""

    def __init__(self, address: str, data: tf.data.Dataset) -> None:
        came = {int(one["number"]): one for one in data}
        self._left = [came[number] for number in (2, 0, 1, 7, 4, 3, 9, 8, 6)]
        self.ended = False

    def next(self) -> Any:
        self.ended = not self._left
        return self._left.pop(0) if self._left else None

    def close(self) -> None:
        pass


@pytest.mark.parametrize("held", [0, 1 << 20])
def test_what_comes_is_put_in_order_and_what_is_lost_is_made_here(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(numbers: np.ndarray) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(numbers).map(lambda number: {"number": number, "value": number * number})

    monkeypatch.setattr(served, "_Arrivals", Scrambled)
    monkeypatch.setattr(served, "trouble", lambda address: "")
    monkeypatch.setattr(served, "HELD", held)
    found = list(served.served("grpc://nowhere:1", made, 10).as_numpy_iterator())
    assert [one["value"] for one in found] == [number * number for number in range(10)]
    assert all(one.keys() == {"value"} for one in found)


@pytest.mark.parametrize("share", [None, Share(1, 1, 2)], ids=["whole", "a part"])
def test_its_batches_are_those_of_this_process(
    processes: Any, batches: ImageBatches, share: Share | None, capsys: pytest.CaptureFixture[str]
) -> None:
    own = replace(batches, replicas=2) if share else batches
    equal(own.epoch(1, 2, share), replace(own, service=processes[0]).epoch(1, 2, share))
    assert capsys.readouterr().err == ""


def test_a_run_ends_with_the_same_weights(
    processes: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read: list[str] = []
    begin = served._Arrivals.__init__

    def counted(self: Any, address: str, data: tf.data.Dataset) -> None:
        read.append(address)
        begin(self, address, data)

    monkeypatch.setattr(served._Arrivals, "__init__", counted)
    options: dict[str, Any] = {
        "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
        "phases": [Phase(epochs=2)],
        "features": None,
    }
    whole = tfl.finetune(str(photos), out=tmp_path / "here", data={"batch_size": 8}, **options)
    assert read == []
    there = {"batch_size": 8, "service": processes[0]}
    monkeypatch.chdir(photos.parent)  # where the workers are not
    other = tfl.finetune(photos.name, out=tmp_path / "there", data=there, **options)
    assert read == [processes[0]] * 2  # one an epoch
    assert "data.service" not in capsys.readouterr().err
    same(whole, other)


def test_one_that_dies_changes_nothing(
    processes: Any, batches: ImageBatches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address, (dispatcher, first, second) = processes
    monkeypatch.setattr(served, "HELD", 0)
    monkeypatch.setattr(served, "PATIENCE", 5.0)
    wanted = list(batches.epoch().as_numpy_iterator())
    for victims, told in (([second], ""), ([first, dispatcher], "this process reads what is left of the epoch")):
        found = []
        for batch in replace(batches, service=address).epoch().as_numpy_iterator():
            found.append(batch)
            if len(found) == 2:
                for victim in victims:
                    victim.kill()
        assert [batch["index"].tolist() for batch in found] == [batch["index"].tolist() for batch in wanted]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(one["image"], other["image"])
        assert told in capsys.readouterr().err


# --- what cannot be ---------------------------------------------------------------------------------------------------


def refused(source: Any, **fields: Any) -> str:
    backbone = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    with pytest.raises(UserError) as caught:
        tfl.finetune(source, backbone=backbone, data=fields)
    return str(caught.value)


def test_one_that_does_not_answer_is_said_at_the_start(photos: Path) -> None:
    (port,) = _free_ports(1)
    began = time.monotonic()
    assert f"data.service: grpc://127.0.0.1:{port}: no dispatcher" in refused(str(photos), service=f"grpc://127.0.0.1:{port}")
    assert time.monotonic() - began < 15
    server = tf.data.experimental.service.DispatchServer()
    assert "it has no workers; start one: tfl service worker" in refused(str(photos), service=server.target)
    server._stop()


def test_an_address_is_checked(photos: Path) -> None:
    assert "grpc://host:port, or null" in refused(str(photos), service="localhost:5050")


def test_what_is_in_memory_cannot_be_read_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfl.data.service.trouble", lambda address: "")
    images = np.zeros((20, 16, 16, 3), np.uint8)
    told = refused((images, np.arange(20) % 2), service="grpc://localhost:1")
    assert "the examples of this source are held in memory here" in told


def test_mistakes_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["worker"], "--dispatcher: it goes with worker"),
        (["dispatcher", "--port", "70000"], "--port: 70000 is not valid"),
        (["worker", "--dispatcher", f"127.0.0.1:{_free_ports(1)[0]}"], "no dispatcher of a tf.data service answers"),
    ):
        assert main(["service", *words]) == 2
        assert told in capsys.readouterr().err
