"""Wrong inputs: each gives an error that a user can act on, exit code 2 and no traceback; most need no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = """
import sys
from tfl.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
print("tensorflow" in sys.modules)
sys.exit(code)
"""
DIGITS = "configs/finetune/digits_resnet50.yaml"


def folder(place: Path, *classes: str, images: int = 4) -> Path:
    """A folder of tiny PNG files, a sub-folder a class."""
    import tensorflow as tf

    for number, name in enumerate(classes):
        (place / name).mkdir(parents=True)
        for count in range(images):
            pixels = np.full((8, 8, 3), 40 * number + count, np.uint8)
            (place / name / f"{count}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return place


def corrupt(place: Path) -> Path:
    """A folder in which a third of the images are none."""
    folder(place, "cats", "dogs")
    for name in ("cats", "dogs"):
        for count in range(2):
            (place / name / f"bad{count}.jpg").write_bytes(b"hello")
    return place


def table(place: Path, text: str, encoding: str = "utf-8") -> Path:
    file = place / "calls.csv"
    file.write_bytes(text.encode(encoding))
    return file


def config(place: Path, text: str) -> Path:
    file = place / "job.yaml"
    file.write_text(text)
    return file


ROWS = "text,tone\n" + "".join(f"sentence {i},{'up' if i % 2 else 'down'}\n" for i in range(20))
Case = tuple[str, Callable[[Path], list[str]], list[str]]
LIGHT: list[Case] = [
    ("a key misspelt", lambda p: [DIGITS, "data.batchsize=8"], ["data.batchsize", "unknown key", "data.batch_size"]),
    ("a key in a list misspelt", lambda p: [DIGITS, "phases.0.epoch=1"], ["phases.0.epoch", "phases.0.epochs"]),
    ("a value of the wrong type", lambda p: [DIGITS, "phases.0.epochs=many"], ["phases.0.epochs", "'many'", "a whole number"]),
    (
        "a value out of range",
        lambda p: [DIGITS, "phases.1.learning_rate=-1"],
        ["phases.1.learning_rate", "-1", "above 0"],
    ),
    (
        "a word that is none of the choices",
        lambda p: [DIGITS, "phases.0.optimizer=adamx"],
        ["optimizer", "'adamx'", "adamw"],
    ),
    ("a phase that is not there", lambda p: [DIGITS, "phases.7.epochs=1"], ["phases.7.epochs", "3", "counted from 0"]),
    ("no such config", lambda p: ["nowhere.yaml"], ["nowhere.yaml", "no such config file"]),
    ("a config that is not YAML", lambda p: [str(config(p, "a: [1"))], ["job.yaml", "not a YAML file"]),
    ("a config that is a list", lambda p: [str(config(p, "- 1"))], ["a config is a mapping", "list"]),
    (
        "no such method",
        lambda p: [str(config(p, "method: finetun\ndata: {source: digits}\n"))],
        ["finetun", "finetune"],
    ),
    ("no such source", lambda p: [DIGITS, "data={source: digit}"], ["data.source", "'digit'", "digits"]),
    ("no backbone", lambda p: [str(config(p, "data: {source: digits}"))], ["backbone: missing", "--backbone"]),
    ("no such folder", lambda p: [str(p / "fotos"), "--backbone", "resnet50"], ["fotos", "no such file or folder"]),
    ("no such backbone", lambda p: ["digits", "--backbone", "resnet5O"], ["resnet5O", "resnet50"]),
    ("no such weights", lambda p: ["digits", "--backbone", "resnet50", "--weights", "w.h5"], ["w.h5", "no such file"]),
    ("a file that holds no examples", lambda p: [str(p / "a.txt"), "--backbone", "minilm"], ["a.txt"]),
    ("not an override", lambda p: [DIGITS, "phases"], ["phases", "key=value"]),
    ("an unknown option", lambda p: [DIGITS, "--epoch", "3"], ["--epoch", "KEY=VALUE"]),
    ("a misspelt option", lambda p: [DIGITS, "--sedd", "3"], ["--sedd", "did you mean '--seed'"]),
    ("a run directory in use", lambda p: [DIGITS, "--out", str(config(p, "x").parent)], ["already holds something"]),
]
HEAVY: list[Case] = [
    (
        "a column misspelt",
        lambda p: [str(table(p, ROWS)), "--backbone", "minilm", "--text", "txt", "--label", "tone"],
        ["'txt'", "text"],
    ),
    ("no label column", lambda p: [str(table(p, ROWS)), "--backbone", "minilm"], ["label", "tone"]),
    (
        "a table that is not UTF-8",
        lambda p: [str(table(p, ROWS.replace("down", "früh"), "latin-1")), "--backbone", "minilm", "--label", "tone"],
        ["UTF-8", "calls.csv"],
    ),
    (
        "corrupt images",
        lambda p: [str(corrupt(p / "d")), "--backbone", "resnet50", "--weights", "none"],
        ["unreadable", "bad0.jpg"],
    ),
    (
        "one class",
        lambda p: [str(folder(p / "d", "cats")), "--backbone", "resnet50", "--weights", "none"],
        ["cats", "class"],
    ),
    ("a pattern that matches nothing", lambda p: [DIGITS, "phases.0.trainable=conv9"], ["'conv9'", "conv1, conv2"]),
    ("too many blocks", lambda p: [DIGITS, "phases.0.trainable={last: 9}"], ["last", "9", "5 blocks"]),
    (
        "texts for an image backbone",
        lambda p: ["earnings_calls", "--backbone", "resnet50", "--weights", "none"],
        ["texts", "minilm"],
    ),
    ("LoRA on images", lambda p: [DIGITS, "phases.0.trainable={lora: 4}"], ["lora", "resnet50"]),
]


def run(arguments: list[str]) -> tuple[int, bool, str]:
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False, cwd=ROOT, timeout=300
    )
    return done.returncode, done.stdout.strip().endswith("True"), done.stderr


def hold(code: int, message: str, fragments: list[str]) -> None:
    assert code == 2, message
    assert "Traceback" not in message
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(("name", "given", "fragments"), LIGHT, ids=[case[0] for case in LIGHT])
def test_a_mistake_is_found_before_tensorflow_is_imported(
    name: str, given: Callable[[Path], list[str]], fragments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("hello")
    code, heavy, message = run(["train", *given(tmp_path)])
    hold(code, message, fragments)
    assert not heavy


@pytest.mark.parametrize(("name", "given", "fragments"), HEAVY, ids=[case[0] for case in HEAVY])
def test_a_mistake_in_the_data_or_the_model_is_explained(
    name: str, given: Callable[[Path], list[str]], fragments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, message = run(["train", *given(tmp_path), "--out", str(tmp_path / "run")])
    hold(code, message, fragments)


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["evaluate", "nowhere"], ["nowhere", "tfl train"]),
        (["predict", "nowhere", "a.jpg"], ["nowhere", "tfl train"]),
        (["list", "models"], ["models", "backbones"]),
        (["trian"], ["trian", "train"]),
    ],
)
def test_other_commands(arguments: list[str], fragments: list[str]) -> None:
    code, heavy, message = run(arguments)
    hold(code, message, fragments)
    assert not heavy
