"""Comparisons: what is compared with what, on which labels and budget, that nothing is lost, and what is said about it."""

from __future__ import annotations

import csv
import json
import signal
import types
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.reporting import make
from tests.test_mistakes import hold
from tests.test_mistakes import run as run_alone
from tfl import backbones, reporting
from tfl.cli import main
from tfl.methods import finetune
from tfl.studies.compare import effects, plan, recipes
from tfl.studies.compare.compare import _keys
from tfl.studies.compare.effects import Trials
from tfl.studies.compare.picture import draw
from tfl.studies.compare.trainer import Clock
from tfl.studies.compare.trial import Trial


def made(method: str, labels: Any, seed: int, right: list[int], curve: list[float]) -> Trial:
    points = [10.0 * place for place in range(len(curve))]
    return Trial(
        method=method,
        labels=labels,
        seed=seed,
        examples=2 * labels,
        classes=2,
        curve={"updates": points, "seconds": points, "accuracy": curve, "loss": curve},
        validation=50,
        right=right,
        updates=int(points[-1]),
        passed=100,
        seconds=1.0,
        trained_parameters=10,
        computed=0,
        phases=[],
        fingerprint="",
    )


def synthetic(better: int, **fields: Any) -> Trials:
    """`head` is right on so many more of 200 test examples than scratch, whose 100 and 140 at 5 and 20 labels are."""
    found = plan.plan(labels="5,20", seeds=4, methods="head", **fields).fitted((5, 20))
    trials = {}
    for method, labels, seed in _keys(found, 0):
        count = (100 if labels == 5 else 140) + (better if method == "head" else 0) + seed % 2
        curve = [0.5, 0.6, count / 200] if method == "scratch" else [0.5, 0.7, count / 200]
        trials[method, labels, seed] = made(method, labels, seed, [1] * count + [0] * (200 - count), curve)
    return Trials(found, trials)


@pytest.mark.parametrize(("better", "shown"), [(30, "helped"), (1, "no difference"), (-30, "hurt")])
def test_the_primary_end_point_is_the_test_accuracy_with_the_most_labels(better: int, shown: str) -> None:
    found = effects.effects(synthetic(better))
    assert [(one.method, one.labels, one.measure) for one in found if one.primary] == [("head", 20, "end")]
    assert found[0].verdict == shown
    assert found[0].value == pytest.approx(better / 200)
    assert (found[0].low, found[0].high) == pytest.approx(found[0].decided)
    assert len(found) == 6
    assert all(one.adjusted_p >= one.p for one in found[1:])


def test_another_end_point_is_primary_where_it_is_named() -> None:
    found = effects.effects(synthetic(30, endpoint="start@5"))
    assert (found[0].labels, found[0].measure, found[0].primary) == (5, "start", True)
    assert found[0].value == pytest.approx(0.1)
    assert sum(one.primary for one in found) == 1


def test_scratch_needs_more_labels_for_the_same() -> None:
    """Scratch has 100.5 of 200 at 5 labels and 140.5 at 20: 120.5 lie halfway by the logarithm, at 10."""
    few, many = effects.efficiency(synthetic(20))
    assert (few["has"], few["more_than"]) == (5, 5)
    assert few["needs"] == pytest.approx(10)
    assert (many["needs"], many["more_than"]) == (None, 20)


# --- whole comparisons ------------------------------------------------------------------------------------------------

WORDS = [
    "--backbone",
    "mobilenet_v2",
    "--labels",
    "4",
    "--seeds",
    "2",
    "--methods",
    "scratch,head",
    "--updates",
    "2",
    "augment=null",
]


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every backbone is the tiny one; the weights that were asked for."""
    asked = []

    def load(config: Any) -> Any:
        asked.append(config.weights)
        return tiny.backbone()

    monkeypatch.setattr(backbones, "load", load)
    return asked


def test_a_comparison_that_is_broken_off_goes_on_and_comes_to_a_verdict(
    photos: Path,
    tmp_path: Path,
    tiny_backbone: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_pages: Any,
) -> None:
    real, started = finetune.train, []

    def interrupting(
        session: Any, config: Any, backbone: Any, model: Any, made: Any, splits: Any, *args: Any, **more: Any
    ) -> Any:
        started.append((config, splits.train.ids.tolist()))
        if len(started) == 3:
            signal.raise_signal(signal.SIGINT)
            return []
        return real(session, config, backbone, model, made, splits, *args, **more)

    monkeypatch.setattr(finetune, "train", interrupting)
    monkeypatch.setattr(reporting, "attempt", no_pages)
    make.run(tmp_path, *make.two_classes(8, 2))  # as where a run's page says: in the run's own directory
    words = ["compare", str(photos), "augment=null", *WORDS, "--out", str(tmp_path / "c")]
    assert main(words) == 130
    assert "goes on" in capsys.readouterr().out
    kept = {file: file.read_bytes() for file in sorted((tmp_path / "c" / "trials").iterdir())}
    assert len(kept) == 2
    assert main(words) == 0
    assert len(started) == 3 + 2, "what was trained is not trained again"
    assert all(file.read_bytes() == content for file, content in kept.items())
    shown = capsys.readouterr().out
    assert shown.index("head made no difference that this data can show") < shown.index("primary end point:")
    assert "for what head has with 4 labels a class, scratch needs" in shown
    _holds_what_was_trained(tmp_path / "c", started)
    _has_a_page(tmp_path / "c", capsys)
    assert {"none", "pretrained"} == set(tiny_backbone)
    assert main([*words, "--seeds", "3"]) == 2
    told = capsys.readouterr().err
    assert "holds another comparison:\n  seeds: 2 there, 3 now\ntake those values, or name another folder" in told
    monkeypatch.setitem(recipes.RATES["image"], "head", 1.0)  # as another version may have it
    assert main(words) == 2
    assert "head-4-0.json was trained by another recipe" in capsys.readouterr().err


def _has_a_page(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (folder / "report.html").read_text()
    assert "The transfer made no difference that this data can show." in text
    assert "head, 4 labels a class: accuracy on the test split" in text
    assert "2 paired seeds, 6 test examples, about 2 updates" in text
    assert "not measured" in (folder.parent / "report.html").read_text(), "a run on other data has no answer by it"
    assert main(["report", str(folder), "--plots", str(folder.parent / "plots")]) == 0
    assert "The transfer made no difference" in capsys.readouterr().out
    assert {file.name for file in (folder.parent / "plots").iterdir()} == {
        f"{name}.{kind}" for name in ("compare", "learning-4") for kind in ("png", "svg")
    }
    whole = (folder / "compare.json").read_text()
    (folder / "compare.json").write_text(json.dumps(json.loads(whole) | {"methods": ["scratch", "head"]}))
    assert main(["report", str(folder)]) == 2
    assert "trains nothing again" in capsys.readouterr().err
    (folder / "compare.json").write_text(whole)


def _holds_what_was_trained(folder: Path, started: list[Any]) -> None:
    found = json.loads((folder / "compare.json").read_text())
    assert found["primary"] == {"measure": "end", "labels": 4}
    assert len(found["effects"]) == 3
    rows = list(csv.DictReader((folder / "compare.csv").open()))
    assert len(rows) == 4
    assert {row["updates"] for row in rows} == {"2"}, "the same budget"
    by_key: dict[Any, list[Any]] = {}
    for config, ids in started:
        by_key.setdefault((config.seed, len(ids)), []).append(ids)
        scratch = config.backbone.weights == "none"
        assert {phase.batch_norm for phase in config.phases} == {"train" if scratch else "frozen"}
    assert all(ids == own[0] for own in by_key.values() for ids in own), "methods share the examples of a seed"
    assert {count for _, count in by_key} == {8}
    assert set(by_key[0, 8][0]) != set(by_key[1, 8][0])
    trial = found["trials"][0]
    assert trial["curve"]["updates"][0] == 0
    assert len(trial["right"]) == 6
    assert all((folder / f"compare.{kind}").stat().st_size > 1000 for kind in ("png", "svg"))


def test_a_budget_in_seconds_is_of_features_and_steps_and_ends_every_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features take 1 s before each phase, graphs 5 s, each step after the first 1 s, validation 30 s after each epoch of
    two steps; the phases end at 3 and at 8 s.
    """
    now = [100.0]
    monkeypatch.setattr("tfl.studies.compare.trainer.time.perf_counter", lambda: now[0])
    clock = Clock([3.0, 8.0])
    model = types.SimpleNamespace(stop_training=False)
    clock.set_model(model)
    clock.start()
    for _ in range(2):
        now[0] += 1
        model.stop_training, built = False, False
        clock.on_train_begin()
        while not model.stop_training:
            clock.on_epoch_begin(0)
            for step in range(2):
                now[0] += 1 if built else 5
                built = True
                clock.on_train_batch_end(step)
            now[0] += 30
            clock.on_epoch_end(0)
        clock.on_train_end()
    assert clock.seconds == [2, 4, 6, 8]


def test_phases_with_a_budget_in_seconds_have_no_end_of_their_own() -> None:
    phases = recipes.with_seconds(recipes.phases_of("top", "image", 17, ()), every=3)
    assert {(phase.epochs > 10_000, phase.schedule, phase.warmup, phase.validate_every) for phase in phases} == {
        (True, "constant", 0.0, 3)
    }


def test_without_matplotlib_there_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "find_spec", lambda name: None)
    assert draw(synthetic(30), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_scratch_has_the_network_and_the_vocabulary_of_the_folder_that_holds_the_weights(
    calls: Path, tiny_bert: Path, tmp_path: Path
) -> None:
    words = ["--label", "tone", "--backbone", "bert", "--weights", str(tiny_bert), "--out", str(tmp_path / "c")]
    plan_of_it = ["--labels", "4", "--seeds", "2", "--methods", "head", "--updates", "2"]
    assert main(["compare", str(calls), *words, *plan_of_it]) == 0
    trials = [json.loads(file.read_text()) for file in (tmp_path / "c" / "trials").iterdir()]
    trained = {one["method"]: one["trained_parameters"] for one in trials}
    inside = backbones.load("bert", weights=str(tiny_bert)).model.count_params()
    assert trained["scratch"] == trained["head"] + inside


def test_a_comparison_is_of_classes(calls: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "\n".join(f"{'rose ' * (place % 7)}fell,{place % 7 * 1.5}" for place in range(40))
    table = tmp_path / "t.csv"
    table.write_text(f"text,label\n{rows}\n")
    words = ["compare", str(table), "--label", "label", "--backbone", str(tiny_bert), "--out", str(tmp_path / "c")]
    assert main(words) == 2
    assert "a comparison is of classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "5,ten"], ["--labels: 'ten' is not valid"]),
        (["--seeds", "1"], ["--seeds: 1 is not valid; at least 2"]),
        (["--methods", "scratch"], ["nothing is compared with scratch"]),
        (["--methods", "haed"], ["--methods: 'haed' is not valid", "did you mean 'head'"]),
        (["--methods", "config"], ["this job has none"]),
        (["--updates", "0"], ["--updates: 0 is not valid"]),
        (["--updates", "9", "--budget", "9"], ["--budget: it takes the place of updates"]),
        (["--budget", "-1"], ["--budget: -1 is not valid"]),
        (["--endpoint", "stop@10"], ["--endpoint: 'stop' is not valid"]),
        (["--labels", "5,10", "--endpoint", "end@20"], ["20 is not among the labels"]),
        (["--weights", "none"], ["none is what scratch has already"]),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_imported(words: list[str], said: list[str]) -> None:
    code, heavy, message = run_alone(["compare", "digits", "--backbone", "resnet50", *words])
    hold(code, message, said)
    assert not heavy


def test_the_plan_of_a_config_with_phases_is_its_own() -> None:
    assert plan.plan(own_phases=True).methods == ("scratch", "config")
    assert plan.plan().methods == ("scratch", "head", "top")
    assert plan.plan(methods="head,scratch,head").methods == ("scratch", "head")
    assert plan.plan(labels="all,20,5,5").labels == (5, 20, "all")
