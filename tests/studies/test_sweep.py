"""Sweeps: what is tried, that every trial starts from the same, and that nothing is lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfl
from tfl.cli import main
from tfl.config import UserError, read
from tfl.features import frontier
from tfl.jobs import config_of
from tfl.methods import METHODS, finetune
from tfl.studies import space
from tfl.studies.space import Choices, Range
from tfl.studies.sweep import sweep

RAW: dict[str, Any] = {
    "data": {"source": "digits", "max_train": 64, "batch_size": 16},
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "augment": None,
    "phases": [{"trainable": "head", "epochs": 1, "learning_rate": 1e-2}],
}


@pytest.fixture(autouse=True)
def _everything_is_worth_storing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier, "WORTH", 0)


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("task.dropout=0,0.2", Choices((0, 0.2))),
        ("backbone.name=resnet50,vgg16", Choices(("resnet50", "vgg16"))),
        ("phases.0.learning_rate=1e-4..1e-2", Range(1e-4, 1e-2)),
        ("task.hidden=[],[64],[64, 32]", Choices(([], [64], [64, 32]))),
        ("phases.0.trainable={last: 1},head", Choices(({"last": 1}, "head"))),
        ("data.batch_size=16..64", Range(16, 64)),
    ],
)
def test_a_dimension_is_read_as_it_is_meant(typed: str, found: Any) -> None:
    dimensions, plain = space.parse([typed, "seed=3"])
    assert dimensions == {typed.partition("=")[0]: found}
    assert plain == ["seed=3"]


@pytest.mark.parametrize(
    "typed", ["seed=1", "task.hidden=[64, 32]", "phases=[{trainable: head, epochs: 3}]", "data.label='a,b'"]
)
def test_one_value_is_no_dimension(typed: str) -> None:
    with pytest.raises(UserError, match="a sweep needs something to try"):
        space.parse([typed])


def test_ranges_are_by_logarithm_where_they_are_wide() -> None:
    assert Range(1e-4, 1e-2).log
    assert not Range(0.1, 0.5).log
    assert not Range(0, 0.5).log
    assert Range(8, 64).whole
    assert not Range(8, 64.0).whole
    with pytest.raises(UserError, match=r"2\.\.1 is not a range"):
        space.parse(["seed=2..1"])


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("task.dropot=0,0.2", "did you mean task.dropout"),
        ("task.dropout=0,2", "task.dropout"),
        ("phases.3.epochs=1,2", "'3' is not the number of an element"),
        ("backbone.name=mobilenet_0.25,resnet5", "did you mean 'resnet50'"),
    ],
)
def test_a_wrong_value_is_found_before_anything_runs(typed: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        space.configs(RAW, space.parse([typed])[0], config_of)


def tried(out: Path, raw: dict[str, Any] = RAW, trials: int = 3, **dimensions: Any) -> Any:
    chosen = {name.replace("__", "."): value for name, value in dimensions.items()}
    return sweep(raw, chosen, config_of, trials=trials, out=out)


def test_a_grid_is_tried_whole_and_the_best_reproduces(tmp_path: Path) -> None:
    done = tried(tmp_path / "s", trials=20, task__dropout=Choices((0.0, 0.5)), phases__0__learning_rate=Choices((1e-4, 3e-2)))
    assert len(done.trials) == 4
    assert len({json.dumps(trial.values) for trial in done.trials}) == 4
    best = done.ranked[0]
    run = METHODS["finetune"].run(config_of(read(tmp_path / "s" / "best.yaml")), tmp_path / "run")
    last = run.report.phases[-1]
    kept = next(epoch for epoch in last.epochs if epoch["epoch"] == last.kept_epoch)
    assert (kept["val_accuracy"], kept["val_loss"]) == (best.score, best.loss)
    saved = json.loads((tmp_path / "s" / "sweep.json").read_text())
    assert saved["best"] == best.number
    assert [trial["score"] for trial in saved["trials"]] == [trial.score for trial in done.trials]


def test_every_trial_starts_from_the_same_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts, loads = [], []
    train, load = finetune.train, finetune.load

    def seen(session: Any, config: Any, backbone: Any, *args: Any, **fields: Any) -> Any:
        starts.append([variable.numpy() for variable in backbone.model.variables])
        return train(session, config, backbone, *args, **fields)

    def counted(*args: Any) -> Any:
        loads.append(1)
        return load(*args)

    monkeypatch.setattr(finetune, "train", seen)
    monkeypatch.setattr(finetune, "load", counted)
    raw = {**RAW, "phases": [{"trainable": "all", "epochs": 1, "learning_rate": 1e-2, "batch_norm": "train"}]}
    done = tried(tmp_path / "s", raw, phases__0__learning_rate=Choices((1e-2, 1e-3)), task__dropout=Choices((0.0, 0.2)))
    for other in starts[1:]:
        for one, value in zip(starts[0], other, strict=True):
            np.testing.assert_array_equal(one, value)
    assert len(starts) == 3
    assert len(loads) == 1
    by_values: dict[str, set[Any]] = {}
    for trial in done.trials:
        by_values.setdefault(json.dumps(trial.values), set()).add(trial.loss)
    assert [len(losses) for losses in by_values.values()] == [1] * len(by_values), "the same values, the same bits"


def test_an_interrupted_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dimension = Range(1e-4, 1e-1)
    whole = tried(tmp_path / "whole", phases__0__learning_rate=dimension)
    real, count = finetune.train, []

    def interrupting(session: Any, *args: Any, **fields: Any) -> Any:
        count.append(1)
        session.interrupt.wanted = len(count) == 2
        return real(session, *args, **fields)

    monkeypatch.setattr(finetune, "train", interrupting)
    part = tried(tmp_path / "part", phases__0__learning_rate=dimension)
    assert [trial.values for trial in part.trials] == [whole.trials[0].values]
    monkeypatch.setattr(finetune, "train", real)
    rest = tried(tmp_path / "part", phases__0__learning_rate=dimension)
    assert [(trial.values, trial.score) for trial in rest.trials] == [(trial.values, trial.score) for trial in whole.trials]
    with pytest.raises(UserError, match="holds a sweep with another space"):
        tried(tmp_path / "part", phases__0__learning_rate=Range(1e-4, 1.0))


def test_a_trial_that_fails_is_kept_and_the_others_run(tmp_path: Path) -> None:
    phase = {"trainable": "head", "epochs": 2, "learning_rate": 1e-2, "clip_norm": None, "optimizer": "sgd"}
    done = tried(tmp_path / "s", {**RAW, "phases": [phase]}, phases__0__learning_rate=Choices((1e38, 1e-2)))
    failed = next(trial for trial in done.trials if trial.values == {"phases.0.learning_rate": 1e38})
    assert failed.score is None
    assert "loss became" in failed.failed
    assert done.ranked[0].values == {"phases.0.learning_rate": 1e-2}


def test_adapters_do_not_leak_into_the_next_trial(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    raw = {
        "data": {"source": "table", "path": str(calls), "label": "tone", "batch_size": 8},
        "backbone": {"name": str(tiny_bert), "pooling": "mean"},
        "phases": [{"trainable": "head", "epochs": 1}],
    }
    done = tried(tmp_path / "s", raw, phases__0__trainable=Choices(({"lora": 2}, "head", {"lora": 4})))
    assert [trial.failed for trial in done.trials] == ["", "", ""]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["digits", "--backbone", "mobilenet_0.25", "--weights", "none", "backbone.image_size=32", "data.max_train=40"]
    words += ["augment=null", "phases=[{trainable: head, epochs: 1}]", "task.dropout=0,0.5", "--out", str(tmp_path / "s")]
    assert main(["sweep", *words]) == 0
    assert "trial 2/2" in capsys.readouterr().out
    assert tfl.load(tmp_path / "s" / "best").metrics["examples"] > 0
    assert main(["sweep", *words]) == 0
    assert "trial 1/2" not in capsys.readouterr().out, "the same command again has nothing left to do"
    assert main(["sweep", "digits", "--backbone", "resnet50", "seed=1"]) == 2
    assert "a sweep needs something to try" in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'tfl\[sweep\]'"):
        tried(tmp_path / "s", task__dropout=Choices((0.0, 0.5)))
    assert not (tmp_path / "s").exists()
