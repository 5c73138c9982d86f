"""A run that is broken off goes on to the very weights that it would have reached."""

from __future__ import annotations

import dataclasses
import shutil
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
from tfl import Last, Lora, Phase, checkpoint
from tfl.checkpoint import Checkpoints
from tfl.cli import main
from tfl.config import UserError

HEAD = Phase(epochs=2, learning_rate=3e-3, early_stopping=2)
TOP = Phase(trainable=Last(last=2), epochs=2, learning_rate=1e-3, ema=0.9, layer_decay=0.5, batch_norm="train")
IMAGES: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "data": {"batch_size": 8},
    "task": {"dropout": 0.3},
    "phases": [HEAD, TOP],
}


class Broken(Exception):
    """What stands for a kill."""


class BreakAt(keras.callbacks.Callback):
    """Raises after a number of steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Broken


def run(photos: Path, out: Path, cache: Path, breaks: int = 0, **fields: Any) -> tfl.Run:
    callbacks = [BreakAt(breaks)] if breaks else []
    options = {**IMAGES, "features": {"directory": str(cache)}, "checkpoints": {"steps": 1}, **fields}
    return tfl.finetune(str(photos), out=out, callbacks=callbacks, **options)


def weights(one: tfl.Run) -> list[np.ndarray]:
    return [variable.numpy() for variable in one.model.variables if "seed_generator" not in variable.path]


def same(one: tfl.Run, other: tfl.Run) -> None:
    for first, second in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(first, second)
    told = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in p.epochs] for p in one.report.phases]
    also = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in p.epochs] for p in other.report.phases]
    assert told == also
    assert one.metrics == other.metrics


@pytest.mark.parametrize("fields", [{}, {"features": None}], ids=["stored", "computed"])
def test_a_run_broken_off_anywhere_ends_the_same(photos: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache", **fields)
    out = tmp_path / "broken"
    for steps in (1, 5, 6):  # counted from where it goes on: at the end of epochs, and within them
        with pytest.raises(Broken):
            run(photos, out, tmp_path / "cache", steps, **fields)
    found = run(photos, out, tmp_path / "cache", **fields)
    same(whole, found)
    assert not (out / "checkpoints").exists()
    assert found.report.seconds["training"] >= sum(phase.seconds for phase in found.report.phases), "what was spent before too"


@pytest.mark.usefixtures("prompt")
def test_patience_goes_on_too(photos: Path, tmp_path: Path) -> None:
    """Four steps an epoch; the phase is broken off after its best epoch and again before it stops."""
    worse = Phase(epochs=20, learning_rate=30.0, warmup=0.0, schedule="constant", optimizer="adam", early_stopping=3)
    whole = run(photos, tmp_path / "whole", tmp_path / "cache", phases=[worse])
    (phase,) = whole.report.phases
    assert (phase.stopped, len(phase.epochs)) == ("early stopping", phase.kept_epoch + 3)
    for count in (4 * phase.kept_epoch + 1, 10):
        with pytest.raises(Broken):
            run(photos, tmp_path / "broken", tmp_path / "cache", count, phases=[worse])
    same(whole, run(photos, tmp_path / "broken", tmp_path / "cache", phases=[worse]))


def test_texts_adapters_and_averages_go_on_too(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "backbone": str(tiny_bert),
        "task": {"dropout": 0.2},
        "data": {"label": "tone", "batch_size": 16, "max_tokens": 96},
        "phases": [
            Phase(epochs=1),
            Phase(trainable=Lora(lora=2), epochs=2, learning_rate=1e-3, ema=0.8, keep="last"),
            Phase(trainable="all", epochs=1, learning_rate=1e-4, optimizer="sgd"),
        ],
        "features": {"directory": str(tmp_path / "cache")},
        "checkpoints": {"steps": 1},
    }
    whole = tfl.finetune(str(calls), out=tmp_path / "whole", **options)
    out = tmp_path / "broken"
    for steps in (2, 6, 5):
        with pytest.raises(Broken):
            tfl.finetune(str(calls), out=out, callbacks=[BreakAt(steps)], **options)
    same(whole, tfl.finetune(str(calls), out=out, **options))


def test_folds_that_are_done_are_not_trained_again(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fields: dict[str, Any] = {"folds": 3, "phases": [Phase(epochs=1)]}
    whole = run(photos, tmp_path / "whole", tmp_path / "cache", **fields)
    out = tmp_path / "broken"
    with pytest.raises(Broken):
        run(photos, out, tmp_path / "cache", 4, **fields)  # a fold trains on 14 photos, in 2 steps
    capsys.readouterr()
    found = run(photos, out, tmp_path / "cache", **fields)
    told = capsys.readouterr().out
    assert "going on from a checkpoint: phase 1 of fold 2, epoch 1, step" in told
    assert "fold 1 of" not in told
    same(whole, found)
    assert whole.report.folds == found.report.folds


def broken(photos: Path, out: Path, steps: int = 7, **fields: Any) -> Path:
    """A run broken off after `steps`, of which the checkpoints of the last two are there."""
    with pytest.raises(Broken):
        run(photos, out, out.parent / "cache", steps, **fields)
    return out


def checkpoints(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("*.safetensors"))


@pytest.mark.usefixtures("prompt")
@pytest.mark.parametrize("harm", ["cut short", "a bit"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_it_used(
    photos: Path, tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache")
    out = broken(photos, tmp_path / "broken")
    assert len(checkpoints(out)) == 2
    last = checkpoints(out)[-1]
    data = bytearray(last.read_bytes())
    if harm == "cut short":
        data = data[: len(data) // 2]
    else:
        data[len(data) // 2] ^= 1
    last.write_bytes(data)
    capsys.readouterr()
    found = run(photos, out, tmp_path / "cache")
    assert f"checkpoints: {last} is damaged; the one before it is used" in capsys.readouterr().out.replace("\n", "")
    same(whole, found)


def test_another_config_is_refused_by_its_keys_and_nothing_is_lost(photos: Path, tmp_path: Path) -> None:
    out = broken(photos, tmp_path / "broken")
    before = checkpoints(out)
    with pytest.raises(UserError, match=r"(?s)cannot go on with this one:\n  data\.batch_size: 8 there, 4 now\n"):
        run(photos, out, tmp_path / "cache", data={"batch_size": 4})
    with pytest.raises(UserError, match=r"phases\.0\.epochs: 2 there, 3 now"):
        run(photos, out, tmp_path / "cache", phases=[dataclasses.replace(HEAD, epochs=3), TOP])
    assert checkpoints(out) == before


def test_what_has_not_begun_may_change(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = broken(photos, tmp_path / "broken", 3)
    found = run(photos, out, tmp_path / "cache", phases=[HEAD, dataclasses.replace(TOP, epochs=1)], checkpoints={"seconds": 5})
    told = capsys.readouterr().out
    assert "phases.1.epochs: 2 there, 1 now" in told
    assert [len(phase.epochs) for phase in found.report.phases] == [2, 1]


def test_other_data_is_refused(photos: Path, tmp_path: Path) -> None:
    copy = tmp_path / "photos"
    shutil.copytree(photos, copy)
    out = broken(copy, tmp_path / "broken")
    (copy / "dark" / "00.png").write_bytes((copy / "dark" / "01.png").read_bytes())
    with pytest.raises(UserError, match="holds an unfinished run on other data"):
        run(copy, out, tmp_path / "cache")


def test_a_run_that_is_trained_by_another_process_is_left_alone(photos: Path, tmp_path: Path) -> None:
    out = broken(photos, tmp_path / "broken")
    other = Checkpoints(out / "checkpoints", checkpoint.Config(), print)
    other.claim()
    with pytest.raises(UserError, match="another process is training this run"):
        run(photos, out, tmp_path / "cache")
    other.release()
    run(photos, out, tmp_path / "cache")


def test_a_folder_that_is_no_run_of_tfl_is_left_as_it_is(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "model-00001.safetensors").write_bytes(b"precious")
    (tmp_path / "config.yaml").write_text("another: tool\n")
    with pytest.raises(UserError, match="already holds something"):
        run(photos, tmp_path, tmp_path.parent / "cache")
    assert (tmp_path / "config.yaml").read_text() == "another: tool\n"
    assert (tmp_path / "checkpoints" / "model-00001.safetensors").read_bytes() == b"precious"


def test_what_is_not_a_checkpoint_stays_where_it_is(photos: Path, tmp_path: Path) -> None:
    out = broken(photos, tmp_path / "run")
    (out / "checkpoints" / "notes.txt").write_text("mine")
    run(photos, out, tmp_path / "cache")
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match="already holds something, a finished run"):
        run(photos, out, tmp_path / "cache")


def test_checkpoints_that_are_there_are_read_where_no_more_are_wanted(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache")
    out = broken(photos, tmp_path / "run")
    capsys.readouterr()
    found = run(photos, out, tmp_path / "cache", checkpoints=None)
    assert "going on from a checkpoint" in capsys.readouterr().out
    same(whole, found)


def test_adapters_begin_the_same_whatever_was_drawn_before(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "backbone": str(tiny_bert),
        "data": {"label": "tone", "batch_size": 16},
        "folds": 2,
        "phases": [Phase(epochs=1), Phase(trainable=Lora(lora=2), epochs=1, keep="last")],
        "features": {"directory": str(tmp_path / "cache")},
        "checkpoints": {"steps": 1},
    }
    whole = tfl.finetune(str(calls), out=tmp_path / "whole", **options)
    out = tmp_path / "broken"
    with pytest.raises(Broken):  # in the head's phase of the run itself, after 8 steps of folds
        tfl.finetune(str(calls), out=out, callbacks=[BreakAt(10)], **options)
    same(whole, tfl.finetune(str(calls), out=out, **options))


def command(photos: Path, out: Path, cache: Path, *more: str) -> list[str]:
    """`tfl train` on the pictures, slow enough to be caught in the act."""
    phases = "[{trainable: head, epochs: 2}, {trainable: {last: 2}, epochs: 80, learning_rate: 1.0e-3}]"
    small = ["backbone.weights=none", "backbone.image_size=32", "data.batch_size=8", f"phases={phases}"]
    train = [str(photos), "--backbone", "mobilenet_0.25", "--out", str(out), f"features.directory={cache}", *small, *more]
    return [sys.executable, "-m", "tfl", "train", *train]


@pytest.mark.alone
def test_sigterm_leaves_a_checkpoint_and_says_how_to_go_on(photos: Path, tmp_path: Path) -> None:
    words = command(photos, tmp_path / "run", tmp_path / "cache", "checkpoints.seconds=null")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        for line in started.stdout:
            if line.startswith("phase 2/2"):
                break
        began = time.monotonic()
        started.send_signal(signal.SIGTERM)
        assert started.wait(timeout=60) == 143
        assert time.monotonic() - began < 5
        assert "the same command goes on from there" in started.stderr.read()
    assert len(checkpoints(tmp_path / "run")) == 1
    resumed = subprocess.run([*words, "--resume"], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from a checkpoint: phase 2, epoch" in resumed.stdout


def test_there_is_nothing_to_resume(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    words = command(photos, tmp_path / "run", tmp_path / "cache")[3:]
    assert main([*words, "--resume"]) == 2
    assert f"--resume: {tmp_path / 'run'} holds no unfinished run; leave --resume out to begin one" in capsys.readouterr().err
    assert main([*(word for place, word in enumerate(words) if place not in (4, 5)), "--resume"]) == 2
    assert "--resume: no unfinished run below runs/ is called folder-mobilenet_0.25-…" in capsys.readouterr().err


@pytest.mark.alone
def test_a_run_killed_at_random_ends_the_same() -> None:
    program = Path(__file__).resolve().parents[1] / "benchmarks" / "resume.py"
    words = [sys.executable, program, "--network", "small", "--kills", "20"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("20 kills by SIGKILL")
