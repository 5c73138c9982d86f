"""Trials of a sweep are compared on the same examples, in the same unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from tests.studies.test_sweep import RAW, tried
from tfl import data
from tfl.config import UserError
from tfl.jobs import config_of
from tfl.methods import METHODS, finetune
from tfl.studies.sweep.bench import Bench
from tfl.studies.sweep.space import Choices

pytestmark = pytest.mark.usefixtures("all_stored")


@pytest.mark.parametrize(
    ("key", "values"),
    [("data.validation", (0.15, 0.2)), ("seed", (0, 1)), ("data.test", (0.15, 0.3)), ("data.group", ("speaker", "week"))],
)
def test_a_key_that_changes_the_validation_split_is_refused(
    key: str, values: tuple[Any, ...], calls: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    lines = calls.read_text().splitlines()
    table = tmp_path / "calls.csv"
    extended = [f"{line},s{place % 9},w{place % 11}" for place, line in enumerate(lines[1:])]
    table.write_text("\n".join([f"{lines[0]},speaker,week", *extended]) + "\n")
    raw = {
        "data": {"source": "table", "path": str(table), "label": "tone", "batch_size": 8},
        "backbone": {"name": str(tiny_bert), "pooling": "mean"},
        "phases": [{"trainable": "head", "epochs": 1}],
    }
    said = rf"^{key}: {values[1]!r} changes the validation split; trials cannot be compared; name one value of {key}"
    with pytest.raises(UserError, match=said):
        tried(tmp_path / "s", raw, **{key.replace(".", "__"): Choices(values), "task__dropout": Choices((0.0, 0.5))})
    assert not (tmp_path / "s" / "sweep.json").exists(), "nothing was tried"


def test_keys_that_leave_the_validation_split_are_tried(tmp_path: Path) -> None:
    done = tried(tmp_path / "s", trials=4, data__max_train=Choices((32, 64)), data__batch_size=Choices((8, 16)))
    assert [trial.failed for trial in done.trials] == [""] * 4


def test_a_trial_on_another_validation_split_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no value alone changes, two of them together may."""
    monkeypatch.setattr(Bench, "changes_validation", lambda self, config: False)
    done = tried(tmp_path / "s", seed=Choices((0, 1)))
    assert [trial.score is None for trial in done.trials] == [False, True]
    assert "the validation split is not that of the other trials" in done.trials[1].failed


def test_losses_of_numbers_are_in_one_unit_whatever_is_trained_on(tiny_bert: Path, tmp_path: Path) -> None:
    """A rate at which nothing moves: both trials predict their mean of training, and are off by what that is off."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 1, 60), random.normal(0, 30, 4)])
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"sales rose {place},{value}\n" for place, value in enumerate(values)))
    raw = {
        "data": {"source": "table", "path": str(table), "label": "label", "batch_size": 8},
        "backbone": {"name": str(tiny_bert), "pooling": "mean"},
        "phases": [{"trainable": "head", "epochs": 1, "learning_rate": 1e-9}],
    }
    done = tried(tmp_path / "s", raw, data__max_train=Choices((8, 40)))
    splits = [data.load(config_of(one.config).data, 0) for one in done.trials]
    np.testing.assert_array_equal(splits[0].validation.ids, splits[1].validation.ids)
    unit = np.std(splits[0].train.labels)
    assert np.std(splits[1].train.labels) > 2 * unit
    runs = [METHODS["finetune"].run(config_of(one.config), tmp_path / str(one.number)) for one in done.trials]
    for one, run, part in zip(done.trials, runs, splits, strict=True):
        own = run.report.phases[-1].epochs[0]["val_loss"] * float(np.var(part.train.labels))
        assert one.score == one.loss == pytest.approx(own / unit**2, rel=1e-4)


def in_three(folder: Path) -> Path:
    """Digits with a validation split of their own, which no seed changes."""
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.round(found.images * (255 / 16)).astype(np.uint8)
    parts = {"train": slice(0, 64), "val": slice(64, 128), "test": slice(128, 192)}
    arrays = {f"{kind}_{name}": of[part] for name, part in parts.items() for kind, of in (("x", images), ("y", found.target))}
    np.savez(folder / "digits.npz", **arrays)
    return folder / "digits.npz"


def test_tensorflows_seed_is_that_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes into the order of data that is read as a stream."""
    seeds, train, assemble = [], finetune.train, finetune.assemble

    def another(*args: Any, **fields: Any) -> Any:
        tf.random.set_seed(1000 + len(seeds))
        return train(*args, **fields)

    def seen(session: Any, config: Any, *args: Any) -> Any:
        seeds.append((config.seed, context.global_seed()))
        return assemble(session, config, *args)

    monkeypatch.setattr(finetune, "assemble", seen)
    monkeypatch.setattr(finetune, "train", another)
    raw = {**RAW, "data": {"source": "npz", "path": str(in_three(tmp_path)), "batch_size": 16}}
    tried(tmp_path / "s", raw, trials=4, seed=Choices((1, 0)), task__dropout=Choices((0.0, 0.3)))
    assert len(seeds) == 5
    assert all(own == there for own, there in seeds)
