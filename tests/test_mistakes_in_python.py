"""What is given in Python and cannot be meant is a `UserError` that shows it and says what can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

import tfl
from tfl import Phase
from tfl.config import UserError

NETWORK = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tfl.finetune(
        str(photos), backbone=NETWORK, phases=[Phase(epochs=1)], seed=2**32 - 1, out=tmp_path_factory.mktemp("run") / "run"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"seed": -1}, "seed: -1 is not valid; from 0 to 4294967295"),
        ({"seed": 2**32}, "seed: 4294967296 is not valid; from 0 to 4294967295"),
        ({"out": 5}, "out: 5 is not valid; a path"),
        ({"source": None}, "data: None is not valid; a path, a DataFrame, or a pair (inputs, labels)"),
        ({"source": 5}, "data: int is not valid; a path, a DataFrame, or a pair (inputs, labels)"),
        ({"data": "label"}, "data: 'label' is not valid; it is a dict of fields"),
        ({"backbone": 5}, "backbone.name: 5 is not valid"),
        ({"phases": "head"}, "phases: 'head' is not valid; a list of phases"),
        ({"augment": 5}, "augment: 5 is not valid; it takes auto or a mapping"),
        ({"callbacks": [keras.callbacks.ReduceLROnPlateau()]}, "ReduceLROnPlateau needs the optimizer of Keras's fit"),
        ({"callbacks": [keras.callbacks.LearningRateScheduler(lambda epoch: 1e-4)]}, "set the phase's learning_rate, schedule"),
        ({"callbacks": print}, "callbacks: <built-in function print> is not valid; a list of Keras callbacks"),
        ({"callbacks": [print]}, "<built-in function print> is not a Keras callback"),
        ({"callbacks": [keras.callbacks.EarlyStopping]}, "EarlyStopping'> is not a Keras callback, an instance of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_finetune(given: dict[str, Any], said: str, photos: Path, tmp_path: Path) -> None:
    whole = {"source": str(photos), "backbone": NETWORK, "phases": [Phase(epochs=1)], "out": tmp_path / "run", **given}
    with pytest.raises(UserError) as refused:
        tfl.finetune(whole.pop("source"), **whole)
    assert said in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run: run.export("out", temperature="1"), "temperature: '1' is not valid; above 0"),
        (lambda run: run.export("out", temperature=0), "temperature: 0 is not valid; above 0"),
        (lambda run: run.predict(None), "predict: NoneType is not valid; this run reads images"),
        (lambda run: run.evaluate(5), "data: int is not valid"),
        (lambda run: tfl.load_backbone(None), "backbone: None is not valid; a name, a folder or a handle"),  # type: ignore
        (lambda run: tfl.load_backbone("mobilenet_v2", image_size="x"), "image_size: 'x' is not valid"),  # type: ignore
        (lambda run: tfl.load_backbone("mobilenet_v2", weights=None), "weights: None is not valid"),  # type: ignore
        (lambda run: tfl.sweep("photos", {"seed": [1, 2]}, backbone="resnet50", trials="3"), "trials: '3' is not valid"),  # type: ignore
        (lambda run: tfl.select("photos", backbones=5), "backbones: 5 is not valid; a list of names"),  # type: ignore
    ],
)
def test_other_calls(
    call: Callable[[Any], Any], said: str, run: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").symlink_to(photos)
    with pytest.raises(UserError) as refused:
        call(run)
    assert said in str(refused.value)


def test_paths_are_paths_wherever_they_are_given(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"w\.h5: no such file"):
        tfl.finetune(photos, backbone={"name": "mobilenet_0.25", "image_size": 32}, weights=tmp_path / "w.h5")


def test_a_path_says_what_it_is_relative_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for source in ("new.csv", {"source": "table", "path": "new.csv"}):
        with pytest.raises(UserError) as refused:
            tfl.finetune(source, backbone="minilm")
        assert f"; it is looked for in {tmp_path}" in str(refused.value)
