"""Whole runs on the store: what a user sees of it, and that neither a kill nor a second process harms it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfl
from tfl import Last, Lora, Phase
from tfl.config import UserError
from tfl.features import shard
from tfl.features.extract import Extractor
from tfl.features.store import Store

IMAGES: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "data": {"batch_size": 8},
    "augment": None,
    "phases": [Phase(epochs=2), Phase(trainable=Last(last=2), epochs=2, learning_rate=1e-3)],
}


pytestmark = pytest.mark.usefixtures("all_stored")


def run(photos: Path, out: Path, cache: Path, **fields: Any) -> Any:
    features = {"directory": str(cache), "engine": "tensorflow", **fields.pop("features", {})}
    return tfl.finetune(str(photos), out=out, features=features, **{**IMAGES, **fields})


def computed(one: Any) -> list[int]:
    return [phase.features["computed"] for phase in one.report.phases]


def test_a_second_run_reads_everything_and_trains_to_the_same_bits(photos: Path, tmp_path: Path) -> None:
    first = run(photos, tmp_path / "a", tmp_path / "cache")
    second = run(photos, tmp_path / "b", tmp_path / "cache")
    assert computed(first) == [34, 34]
    assert [phase.features["stored"] for phase in first.report.phases] == ["conv_pw_13", "conv_pw_11"]
    assert computed(second) == [0, 0]
    for one, other in zip(first.model.variables, second.model.variables, strict=True):
        if "seed_generator" not in one.path:
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    third = run(photos, tmp_path / "c", tmp_path / "another cache")
    for one, other in zip(first.model.variables, third.model.variables, strict=True):
        if "seed_generator" not in one.path:
            np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_a_photo_that_is_replaced_after_it_was_read_leaves_no_row(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: dict[Path, bytes] = {}
    extract = Extractor.extract

    def late(self: Extractor, request: Any) -> Any:
        changed, other = map(Path, request.streams["train"].examples.inputs["path"][:2])
        before[changed] = changed.read_bytes()
        changed.write_bytes(other.read_bytes())
        return extract(self, request)

    monkeypatch.setattr(Extractor, "extract", late)
    with pytest.raises(UserError, match=r"png: changed since the data was read"):
        run(photos, tmp_path / "a", tmp_path / "cache")
    monkeypatch.undo()
    for changed, whole in before.items():
        changed.write_bytes(whole)
    assert computed(run(photos, tmp_path / "b", tmp_path / "cache")) == [34, 34], "nothing of the other photo is there"


def test_without_the_store_the_run_is_the_same_within_rounding(photos: Path, tmp_path: Path) -> None:
    with_store = run(photos, tmp_path / "a", tmp_path / "cache")
    without = tfl.finetune(str(photos), out=tmp_path / "b", features=None, **IMAGES)
    assert without.report.phases[0].features == {"stored": None, "why": "features: null"}
    one, other = (
        np.loadtxt(r.directory / "predictions.csv", delimiter=",", skiprows=1, usecols=-1) for r in (with_store, without)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_another_head_seed_and_batch_size_read_what_is_there(photos: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    # The backbone's weights are random, so that another seed of the run would be another backbone; that of a phase is not.
    run(photos, tmp_path / "a", cache)
    other = run(photos, tmp_path / "b", cache, task={"hidden": (8,), "dropout": 0.3}, data={"batch_size": 5})
    assert computed(other) == [0, 0]


def test_folds_read_what_is_there(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    real = Extractor.extract

    def counted(self: Extractor, *args: Any, **fields: Any) -> Any:
        found = real(self, *args, **fields)
        counts.append(found.facts["computed"])
        return found

    monkeypatch.setattr(Extractor, "extract", counted)
    run(photos, tmp_path / "a", tmp_path / "cache", folds=2, phases=[Phase(epochs=1)])
    assert sum(counts) == 40, "every photo once: folds, the run itself and its test"


def test_evaluating_and_predicting_read_what_is_there(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(photos, tmp_path / "a", tmp_path / "cache")
    found = []
    real = Extractor.find

    def spied(self: Extractor, *args: Any, **fields: Any) -> Any:
        found.append(real(self, *args, **fields))
        return found[-1]

    monkeypatch.setattr(Extractor, "find", spied)
    files = sorted(str(path) for path in photos.rglob("*.png"))
    table = tfl.load(done.directory).predict(files)
    assert found[-1].facts["read"] == 40
    tfl.load(done.directory).predict(files[:1])
    assert len(found) == 1, "a single image is not looked for"
    other = tmp_path / "one.png"
    other.write_bytes(Path(files[0]).read_bytes())
    monkeypatch.setenv("TFL_CACHE", str(tmp_path / "nowhere"))
    done.report.config["features"] = None
    direct = done.predict(files)
    assert found[-1].facts["why"].startswith("the store does not")
    np.testing.assert_allclose(table["probability"], direct["probability"], atol=1e-5)


def test_a_prediction_leaves_nothing_in_the_store(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "a", tmp_path / "cache")
    before = Store(tmp_path / "cache").infos()
    random = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), np.uint8)
    done.predict(random)
    assert Store(tmp_path / "cache").infos() == before


def test_adapters_leave_the_embeddings_frozen_and_train(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    phases = [Phase(epochs=1), Phase(trainable=Lora(lora=2), epochs=1), Phase(trainable=Last(last=1), epochs=1)]
    done = tfl.finetune(
        str(calls),
        backbone={"name": str(tiny_bert), "pooling": "mean"},
        out=tmp_path / "run",
        data={"label": "tone", "batch_size": 8},
        phases=phases,
        features={"directory": str(tmp_path / "cache"), "engine": "tensorflow"},
    )
    assert [phase.features["stored"] for phase in done.report.phases] == ["layer_1", "embeddings", "layer_0"]
    assert all(phase.moved.still == () for phase in done.report.phases)


def test_by_default_training_images_have_views(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "a", tmp_path / "cache", augment="auto")
    assert done.report.config["features"]["views"] == 2
    assert computed(done) == [2 * 28 + 6, 2 * 28 + 6]
    with pytest.raises(tfl.UserError, match=r"features\.views: 3 is not valid; views are augmented"):
        run(photos, tmp_path / "b", tmp_path / "cache", features={"views": 3})


def test_a_phase_that_trains_more_may_come_first(photos: Path, tmp_path: Path) -> None:
    phases = [Phase(trainable=Last(last=2), epochs=1, learning_rate=1e-3), Phase(epochs=1)]
    done = run(photos, tmp_path / "a", tmp_path / "cache", phases=phases)
    assert done.metrics["examples"] == 6


def test_a_phase_of_one_epoch_is_augmented(photos: Path, tmp_path: Path) -> None:
    done = run(photos, tmp_path / "a", tmp_path / "cache", augment="auto", phases=[Phase(epochs=1)])
    plain = run(photos, tmp_path / "b", tmp_path / "cache", phases=[Phase(epochs=1)])
    assert computed(done) == [28 + 6]
    assert computed(plain) == [28], "the examples as they are are others than their first view"


def test_a_directory_that_cannot_be_written_does_not_stop_the_run(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = run(photos, tmp_path / "a", tmp_path / "file" / "cache", phases=[Phase(epochs=1)])
    assert "cannot be written" in done.report.phases[0].features["why"]


FILL = """
import sys
from pathlib import Path
from tests.features import test_extract as t
from tests import tiny
from tfl.features import fill, frontier
frontier.WORTH, fill.SHARD_ROWS = 0, 32
print("ready", flush=True)
part, _ = t.extracted(Path(sys.argv[1]), "block3", rows=tiny.examples(1500))
print(part.facts["computed"], flush=True)
"""


def filler(cache: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", FILL, str(cache)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def shards(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("[!.]*.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The shards that an undisturbed process leaves."""
    cache = tmp_path_factory.mktemp("whole")
    process = filler(cache)
    assert process.wait() == 0
    return shards(cache)


def test_a_kill_at_any_time_loses_no_finished_shard(whole: dict[str, bytes], tmp_path: Path) -> None:
    random = np.random.default_rng(int(os.environ.get("TFL_TEST_SEED", "0")))
    for number in range(3):
        process = filler(tmp_path)
        before = shards(tmp_path)
        wanted = len(before) + int(random.integers(1, 12))
        while len(shards(tmp_path)) < wanted and process.poll() is None:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        after = shards(tmp_path)
        assert before.items() <= after.items() <= whole.items(), f"after kill {number + 1}"
    there = sum(len(shard.read(path).ids) for path in tmp_path.rglob("[!.]*.safetensors"))
    process = filler(tmp_path)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == 1500 - there, "what was finished is not computed again"
    assert process.wait() == 0
    assert shards(tmp_path) == whole


def test_two_processes_at_once_compute_each_row_once(whole: dict[str, bytes], tmp_path: Path) -> None:
    processes = [filler(tmp_path) for _ in range(2)]
    counts = []
    for process in processes:
        assert process.stdout is not None
        counts.append(int(process.stdout.readline()))
        assert process.wait() == 0
    assert sorted(counts) == [0, 1500]
    assert shards(tmp_path) == whole


def test_the_tokens_of_a_batch_are_bounded_whether_features_are_stored_or_not(
    calls: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    """So that a run which goes on where the disk has filled since goes on in the same batches."""
    rows: dict[str, list[int]] = {}

    class Count(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            counted.append(batch)

    for name, features in (("stored", {"directory": str(tmp_path / "cache")}), ("computed", None)):
        counted = rows[name] = []
        data = {"label": "tone", "batch_size": 16, "max_tokens": 64}
        one: dict[str, Any] = {"backbone": str(tiny_bert), "data": data, "phases": [Phase(epochs=2)], "features": features}
        made = tfl.finetune(str(calls), out=tmp_path / name, callbacks=[Count()], **one)
        assert (made.report.phases[0].features["stored"] is None) == (features is None)
    assert len(rows["stored"]) == len(rows["computed"]) > 6
