"""Sweeps: what is tried, that every trial starts from the same, and that nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfl
from tests.test_mistakes import hold
from tests.test_mistakes import run as run_alone
from tfl.cli import main
from tfl.config import UserError, read
from tfl.jobs import config_of
from tfl.locks import lock
from tfl.methods import METHODS, finetune
from tfl.studies.sweep.journal import Journal, Trial
from tfl.studies.sweep.space import Choices, Range
from tfl.studies.sweep.sweep import run_best, sweep

RAW: dict[str, Any] = {
    "data": {"source": "digits", "max_train": 64, "batch_size": 16},
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "augment": None,
    "phases": [{"trainable": "head", "epochs": 1, "learning_rate": 1e-2}],
}


pytestmark = pytest.mark.usefixtures("all_stored")


def test_what_comes_next_depends_on_what_is_done_alone(tmp_path: Path) -> None:
    """Past the ten trials that are drawn at random, with a failed one among them."""
    dimensions = {"a": Range(1e-4, 1.0), "b": Choices(([], [1]))}

    def proposals(name: str, reopen: bool, seed: int = 0) -> list[Any]:
        journal = Journal(tmp_path / name, dimensions, seed, maximize=True)
        for number in range(1, 15):
            journal = Journal(tmp_path / name, dimensions, seed, maximize=True) if reopen else journal
            journal.propose()
            values = journal.propose()
            score = None if number == 3 else values["a"]
            journal.add(Trial(number=number, values=values, score=score, loss=score, seconds=0.0))
        return [trial.values for trial in journal.trials()]

    assert proposals("whole", reopen=False) == proposals("killed", reopen=True)
    assert proposals("other", reopen=False, seed=1) != proposals("again", reopen=False)
    assert Journal(tmp_path / "whole", dimensions, 0, maximize=True).trials()[2].score is None


def test_the_same_values_are_not_proposed_again_while_there_are_others(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log", {"a": Range(1, 6)}, 0, maximize=False)
    for number in range(1, 7):
        journal.add(Trial(number=number, values=journal.propose(), score=0.0, loss=0.0, seconds=0.0))
    assert sorted(trial.values["a"] for trial in journal.trials()) == [1, 2, 3, 4, 5, 6]


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
    starts, ends, loads = [], [], []
    train, load = finetune.train, finetune.load

    def seen(session: Any, config: Any, backbone: Any, *args: Any, **fields: Any) -> Any:
        starts.append([variable.numpy() for variable in backbone.model.variables])
        reports = train(session, config, backbone, *args, **fields)
        ends.append([variable.numpy() for variable in backbone.model.variables])
        return reports

    def counted(*args: Any) -> Any:
        loads.append(1)
        return load(*args)

    monkeypatch.setattr(finetune, "train", seen)
    monkeypatch.setattr(finetune, "load", counted)
    raw = {**RAW, "phases": [{"trainable": {"last": 1}, "epochs": 1, "learning_rate": 1e-2, "batch_norm": "train"}]}
    done = tried(tmp_path / "s", raw, phases__0__learning_rate=Choices((1e-2, 1e-3)))
    raw["phases"][0]["learning_rate"] = 1e-3
    alone = tried(tmp_path / "alone", raw, phases__0__learning_rate=Choices((1e-3,)))
    assert [len(starts), len(loads)] == [3, 2]
    assert any(not np.array_equal(one, value) for one, value in zip(starts[0], ends[0], strict=True)), "it trains"
    for other in starts[1:]:
        for one, value in zip(starts[0], other, strict=True):
            np.testing.assert_array_equal(one, value)
    assert (done.trials[1].score, done.trials[1].loss) == (alone.trials[0].score, alone.trials[0].loss)


def test_backbones_that_are_tried_in_turn_are_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads, load = [], finetune.load

    def counted(session: Any, config: Any, *args: Any) -> Any:
        loads.append(config.backbone.image_size)
        return load(session, config, *args)

    monkeypatch.setattr(finetune, "load", counted)
    sizes = Choices((32, 40))
    done = tried(tmp_path / "s", trials=4, task__dropout=Choices((0.0, 0.5)), backbone__image_size=sizes)
    assert len(done.ranked) == 4
    assert loads == [32, 40]


def test_two_tokenizers_in_one_sweep(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    """Texts are tokenised once a run; a sweep has to do it for each backbone."""
    other = shutil.copytree(tiny_bert, tmp_path / "other")
    vocabulary = next(other.rglob("vocabulary.txt"))
    special, words = vocabulary.read_text().split()[:5], vocabulary.read_text().split()[5:]
    vocabulary.write_text("\n".join([*special, *reversed(words)]) + "\n")
    raw = {
        "data": {"source": "table", "path": str(calls), "label": "tone", "batch_size": 8},
        "backbone": {"name": str(tiny_bert), "pooling": "mean"},
        "phases": [{"trainable": "head", "epochs": 1, "learning_rate": 1e-2}],
    }
    both = tried(tmp_path / "both", raw, backbone__name=Choices((str(tiny_bert), str(other))))
    alone = tried(tmp_path / "alone", raw, backbone__name=Choices((str(other),)))
    assert both.trials[1].loss == alone.trials[0].loss
    assert both.trials[0].loss != both.trials[1].loss


def test_an_interrupted_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dimension = Range(1e-4, 1e-1)
    whole = tried(tmp_path / "whole", phases__0__learning_rate=dimension)
    real, count = finetune.train, []

    def interrupting(session: Any, *args: Any, **fields: Any) -> Any:
        count.append(1)
        if len(count) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(session, *args, **fields)

    monkeypatch.setattr(finetune, "train", interrupting)
    part = tried(tmp_path / "part", phases__0__learning_rate=dimension)
    assert part.interrupted
    assert [trial.values for trial in part.trials] == [whole.trials[0].values]
    count.clear()
    count.append(1)
    count.append(1)
    rest = tried(tmp_path / "part", phases__0__learning_rate=dimension)
    assert [(trial.values, trial.score) for trial in rest.trials] == [(trial.values, trial.score) for trial in whole.trials]
    assert not rest.interrupted
    assert len(count) == 2 + 2, "what was done is not done again"
    with pytest.raises(UserError, match="holds another sweep:\n  space"):
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


def test_a_sweep_that_is_extended_does_not_try_again_what_it_tried(tmp_path: Path) -> None:
    dimensions = {"task__dropout": Choices((0.0, 0.3, 0.5))}
    few = tried(tmp_path / "s", trials=2, **dimensions)
    assert len(few.trials) == 2
    (tmp_path / "s" / "best").mkdir()
    more = tried(tmp_path / "s", trials=3, **dimensions)
    assert sorted(trial.values["task.dropout"] for trial in more.trials) == [0.0, 0.3, 0.5]
    with pytest.raises(UserError, match="holds the run of a config that was the best before"):
        run_best(more, config_of)


def test_a_sweep_that_another_process_runs_is_left_alone(tmp_path: Path) -> None:
    tried(tmp_path / "s", trials=1, task__dropout=Choices((0.0,)))
    with (tmp_path / "s" / ".lock").open("w") as file:
        assert lock(file, exclusive=True, wait=False)
        with pytest.raises(UserError, match="another process is running the sweep"):
            tried(tmp_path / "s", trials=2, task__dropout=Choices((0.0,)))


def test_numbers_are_compared_by_their_loss(tiny_bert: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0).integers(0, 9, 40)
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"{'rose ' * count}fell,{count * 1.5}\n" for count in random))
    raw = {
        "data": {"source": "table", "path": str(table), "label": "label", "batch_size": 8},
        "backbone": {"name": str(tiny_bert), "pooling": "mean"},
        "phases": [{"trainable": "head", "epochs": 2}],
    }
    done = tried(tmp_path / "s", raw, phases__0__learning_rate=Choices((1e-6, 1e-2)))
    assert done.metric == "loss"
    assert done.ranked[0].score == min(trial.score for trial in done.trials)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["digits", "--backbone", "mobilenet_0.25", "--weights", "none", "backbone.image_size=32", "data.max_train=40"]
    words += ["augment=null", "phases=[{trainable: head, epochs: 1}]", "task.dropout=0,0.5", "--out", str(tmp_path / "s")]
    assert main(["sweep", *words]) == 0
    shown = capsys.readouterr().out
    assert "trial 2/2" in shown
    assert "the best of 2 trials looks better on the validation split than it is" in shown
    run = tfl.load(tmp_path / "s" / "best")
    best = json.loads((tmp_path / "s" / "sweep.json").read_text())
    score = next(trial["score"] for trial in best["trials"] if trial["number"] == best["best"])
    (splits,) = run.report.metrics.values()
    assert splits["validation"]["accuracy"]["value"] == pytest.approx(score)
    assert splits["test"]["examples"] > 0
    assert main(["sweep", *words]) == 0
    again = capsys.readouterr().out
    assert "trial 1/2" not in again, "the same command again has nothing left to do"
    assert f"run: {tmp_path / 's' / 'best'}" in again


def test_the_command_that_is_interrupted_ends_without_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = finetune.train

    def interrupting(*args: Any, **fields: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args, **fields)

    monkeypatch.setattr(finetune, "train", interrupting)
    words = ["digits", "--backbone", "mobilenet_0.25", "--weights", "none", "backbone.image_size=32", "data.max_train=40"]
    words += ["augment=null", "phases=[{trainable: head, epochs: 1}]", "task.dropout=0,0.5"]
    assert main(["sweep", *words, "--out", str(tmp_path / "s")]) == 130
    assert f"--out {tmp_path / 's'} goes on" in capsys.readouterr().out
    assert not (tmp_path / "s" / "best").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1"], ["a sweep needs something to try"]),
        (["task.dropot=0,0.2"], ["task.dropot: unknown key; did you mean task.dropout?"]),
        (["phases.0.learning_rate=1e-4..1e-2"], ["this job has no `phases` list to override"]),
        (["task.dropout=0,0.2", "--trials", "0"], ["--trials: 0 is not valid"]),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_imported(words: list[str], said: list[str]) -> None:
    code, heavy, message = run_alone(["sweep", "digits", "--backbone", "resnet50", *words])
    hold(code, message, said)
    assert not heavy


def test_without_optuna_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install '\.\[sweep\]'"):
        tried(tmp_path / "s", task__dropout=Choices((0.0, 0.5)))
    assert not (tmp_path / "s").exists()
