"""A disk that is full, or cannot be written, ends no training and takes nothing away."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

import tfl
from tests.test_resume import IMAGES, Broken, broken, checkpoints, command, run, same
from tfl import sealed
from tfl.cli import main


@pytest.mark.usefixtures("prompt")
def test_a_full_disk_ends_no_training_and_the_last_good_checkpoint_stays(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache")
    out, real, count = tmp_path / "full", sealed.write, []

    def write(*args: Any, **fields: Any) -> Path:
        count.append(1)
        if fields.get("sync") and len(count) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args, **fields)

    monkeypatch.setattr(sealed, "write", write)
    with pytest.raises(Broken):
        run(photos, out, tmp_path / "cache", 9)
    told = capsys.readouterr().out
    assert told.count("checkpoints: cannot be written (No space left on device); training goes on") == 1
    assert [path.name[:6] for path in checkpoints(out)] == ["000002", "000003"]
    monkeypatch.setattr(sealed, "write", real)
    same(whole, run(photos, out, tmp_path / "cache"))


class Fill(keras.callbacks.Callback):
    """Fills the disk that `folder` is on, after a number of steps."""

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__()
        self.file, self.left = folder / "ballast", steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            with self.file.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                for size in (1 << 16, 1 << 8, 1):
                    with contextlib.suppress(OSError):
                        while file.write(b"0" * size):
                            pass


def curve(out: Path) -> list[float]:
    """The losses that TensorBoard shows for a run."""
    events = [
        event
        for file in sorted((out / "logs" / "train").glob("*tfevents*"), key=lambda path: int(path.suffix[1:]))
        for event in tf.compat.v1.train.summary_iterator(str(file))
    ]
    values = [value for event in events for value in event.summary.value if value.tag == "epoch/loss"]
    return [pytest.approx(value.simple_value, rel=1e-6) for value in values]


@contextlib.contextmanager
def mounted(folder: Path, *words: str) -> Iterator[None]:
    """`folder` as a disk of its own, made by `mount WORDS`; skips the test where this user may mount none."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() or subprocess.run(["mount", *words, folder], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.usefixtures("prompt")
def test_a_disk_that_is_really_full_ends_no_training(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = run(photos, tmp_path / "whole", tmp_path / "cache")
    assert curve(whole.directory) == [epoch["loss"] for phase in whole.report.phases for epoch in phase.epochs]
    disk = tmp_path / "disk"
    with mounted(disk, "-t", "tmpfs", "-o", "size=16m", "tmpfs"):
        fill = Fill(disk, 4)
        options: dict[str, Any] = {**IMAGES, "features": {"directory": str(tmp_path / "cache")}, "checkpoints": {"steps": 1}}
        with pytest.raises(OSError, match="No space left on device"):  # it trains to its end, and has no room for what it made
            tfl.finetune(str(photos), out=disk / "run", callbacks=[fill], **options)
        told = capsys.readouterr().out
        assert told.count("checkpoints: cannot be written (No space left on device); training goes on") == 1
        assert told.count("the curves cannot be written") == 1
        assert "phase 2/2 last 2  epoch 2/2" in told
        assert [path.name[:6] for path in checkpoints(disk / "run")] == ["000002", "000003"]
        assert not list((disk / "run" / "checkpoints").glob(".0*"))
        fill.file.unlink()
        same(whole, tfl.finetune(str(photos), out=disk / "run", **options))


def test_a_directory_that_is_read_only_is_said_before_anything_is_read(photos: Path, tmp_path: Path, capsys: Any) -> None:
    out = broken(photos, tmp_path / "disk")
    words = command(photos, out, tmp_path / "cache")[3:]
    capsys.readouterr()
    with mounted(out, "--bind", str(out)):
        subprocess.run(["mount", "-o", "remount,bind,ro", out], check=True)
        assert main(words) == 2
        assert main([*words, "--resume"]) == 2
    said = capsys.readouterr()
    assert said.err.count(f"tfl: --out: {out} cannot be written to: Read-only file system; name another place") == 2
    assert "data:" not in said.out
