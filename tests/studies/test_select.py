"""Selections: who is ranked by what, whom the data cannot tell apart, what is recommended, and what is left untouched."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import tfl
from tests import tiny
from tests.test_mistakes import hold
from tests.test_mistakes import run as run_alone
from tfl import backbones
from tfl.backbones.config import Config
from tfl.cli import main
from tfl.config import UserError
from tfl.methods.session import Session
from tfl.studies.select import frozen
from tfl.studies.select.candidates import DEFAULTS, candidates, defaults, label
from tfl.studies.select.frozen import Cost
from tfl.studies.select.ranking import Candidate, Ranking, Scores, Weighed, ranked
from tfl.studies.select.told import sentences
from tfl.validate import validate

# --- who is named -----------------------------------------------------------------------------------------------------


def test_names_weights_and_keys_of_all(tmp_path: Path) -> None:
    file = tmp_path / "mine.weights.h5"
    file.touch()
    found = candidates(
        f"mobilenet_v2, resnet50@none,mobilenet_0.25@{file}", {"image_size": 96, "name": "vgg16", "weights": "none"}
    )
    assert [(one.name, one.weights, one.image_size) for one in found] == [
        ("mobilenet_v2", "pretrained", 96),
        ("resnet50", "none", 96),
        ("mobilenet_0.25", str(file), 96),
    ]
    assert [label(one, found) for one in found] == ["mobilenet_v2", "resnet50 (random)", "mobilenet_0.25"]
    assert label(found[2], [*found, Config(name="mobilenet_0.25")]) == "mobilenet_0.25 (mine.weights.h5)"


def test_a_list_in_a_file_says_more_of_each(tmp_path: Path) -> None:
    file = tmp_path / "b.yaml"
    file.write_text("- mobilenet_v2@none\n- {name: mobilenet_v2, weights: none, image_size: 128, pooling: max}\n")
    found = candidates(str(file), {})
    assert [(one.image_size, one.pooling) for one in found] == [(None, "auto"), (128, "max")]
    assert label(found[1], found) == "mobilenet_v2 (random, image_size 128, pooling max)"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("mobilnet_v2", "did you mean 'mobilenet_v2'"),
        ("mobilenet_v2@nothing.h5", "no such file"),
        ("mobilenet_v2,mobilenet_v2", "named twice"),
        (" , ", "none are named"),
        ([{"name": "mobilenet_v2", "size": 3}], "backbones: size: unknown key"),
        ([3], "3 is not valid"),
        ("missing.yaml", "no YAML file that can be read"),
    ],
)
def test_what_is_no_backbone_is_said(named: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        candidates(named, {})


def test_the_defaults_have_the_keys_of_the_config() -> None:
    base = Config(name="vgg16", image_size=64)
    found = defaults("image", base, named=True)
    assert found[0] == base
    assert {one.image_size for one in found} == {64}
    assert base not in defaults("image", base, named=False)
    for modality in ("image", "text"):
        assert {backbones.entry(one.name).modality for one in defaults(modality, base, named=False)} == {modality}


# --- the order and the recommendation ---------------------------------------------------------------------------------


def made(name: str, probe: list[float], seconds: float, parameters: int = 10, log_me: float = 0.0) -> Candidate:
    scores = Scores(probe=tuple(probe), nearest=(0.5,), log_me=log_me, h_score=1.0)
    cost = Cost(parameters=parameters, megabytes=1.0, seconds=seconds)
    return Candidate(
        label=name, backbone=Config(name=name), scores=scores, cost=cost, dimensions=4, seconds=1.0, stored="", depths=()
    )


def four(weighed: Weighed = "seconds") -> Ranking:
    spread = np.array([0.02, -0.02, 0.01, -0.01, 0.0])
    found = [
        made("bait", (0.5 + spread).tolist(), 0.001),
        made("small", (0.89 - spread).tolist(), 0.002, parameters=50),
        made("large", (0.90 + spread).tolist(), 0.01, parameters=90),
        made("middle", (0.895 + spread).tolist(), 0.005, parameters=20),
    ]
    return ranked(found, folds=5, examples=500, weighed=weighed)


def test_the_cheapest_of_those_that_cannot_be_told_from_the_best() -> None:
    ranking = four()
    assert [one.label for one in ranking.candidates] == ["large", "middle", "small", "bait"]
    assert [one.label for one in ranking.alike] == ["large", "middle", "small"]
    assert ranking.recommended.label == "small"
    assert four("parameters").recommended.label == "middle"
    assert ranking.behind[3].beyond_noise
    assert ranking.behind[3].value == pytest.approx(0.4)
    told = "\n".join(sentences(ranking))
    assert told.startswith("recommended: small, probe accuracy 0.890")
    assert "the best, large, has 0.900: +0.010 (interval" in told
    assert "not to be told from the best either, and not much cheaper: middle" in told
    assert "worse beyond noise: bait" in told


def test_of_one_network_with_two_weights_the_better_is_recommended() -> None:
    spread = np.array([0.02, -0.02, 0.01, -0.01, 0.0])
    found = [made("trained", (0.90 + spread).tolist(), 0.0012), made("random", (0.89 - spread).tolist(), 0.0011)]
    for weighed in ("seconds", "parameters"):
        assert ranked(found, folds=5, examples=500, weighed=weighed).recommended.label == "trained"


def test_more_candidates_widen_the_intervals() -> None:
    few = ranked(four().candidates[:2], folds=5, examples=500, weighed="seconds")
    many = four()
    wide = [many.behind[1].high - many.behind[1].low, few.behind[1].high - few.behind[1].low]
    assert wide[0] > wide[1]


def test_equal_probes_are_ordered_by_the_other_scores() -> None:
    ranking = ranked([made("b", [0.9, 0.8], 1.0, log_me=-0.3), made("a", [0.9, 0.8], 1.0, log_me=-0.2)], 2, 50, "seconds")
    assert [one.label for one in ranking.candidates] == ["a", "b"]


# --- whole selections -------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Every backbone is the tiny one; one from random weights is blind: its first layer sees nothing."""
    asked: list[Config] = []

    def load(config: Config) -> Any:
        asked.append(config)
        if config.name.startswith("densenet"):
            raise UserError("weights: no network")
        made = tiny.backbone()
        if config.weights == "none":
            first = made.model.get_layer("block1_conv")
            first.kernel.assign(0 * first.kernel)
        return made

    monkeypatch.setattr(backbones, "load", load)
    return asked


def test_a_selection_never_reads_the_test_split_and_puts_the_blind_one_last(
    photos: Path, tmp_path: Path, loaded: list[Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tfl import data
    from tfl.data.guess import guess

    seen: set[str] = set()
    real = Session.batches

    def batches(self: Session, backbone: Any, examples: Any, *args: Any, **fields: Any) -> Any:
        seen.update(examples.ids.tolist())
        return real(self, backbone, examples, *args, **fields)

    monkeypatch.setattr(Session, "batches", batches)
    words = ["select", str(photos), "--backbones", "mobilenet_v2,mobilenet_v2@none", "--depths", "1"]
    assert main([*words, "--out", str(tmp_path / "s")]) == 0
    splits = data.load(validate(data.folder.Config, guess(str(photos))), 0)
    assert seen == {*splits.train.ids, *splits.validation.ids}
    assert not seen & {*splits.test.ids}
    shown = capsys.readouterr().out
    assert shown.index("recommended: mobilenet_v2,") < shown.index("behind the best")
    assert "worse beyond noise: mobilenet_v2 (random)" in shown
    found = json.loads((tmp_path / "s" / "select.json").read_text())
    assert (found["recommended"], found["best"], found["split"]) == ("mobilenet_v2", "mobilenet_v2", "train and validation")
    best, bait = found["ranked"]
    assert best["scores"]["accuracy"] > bait["scores"]["accuracy"]
    assert best["scores"]["log_me"] > bait["scores"]["log_me"]
    assert len(best["scores"]["probe"]) == 2 * found["folds"]
    assert best["stored"].startswith("34 computed"), best["stored"]
    assert [depth["block"] for depth in best["depths"]] == ["block2"]
    assert best["depths"][0]["above"] == "block3"
    assert best["cost"]["parameters"] == tiny.backbone().model.count_params()


def test_a_head_that_is_trained_later_finds_the_features(photos: Path, tmp_path: Path, loaded: list[Config]) -> None:
    source: Any = {"source": "folder", "path": str(photos)}
    found = [tfl.select(source, backbones=["mobilenet_v2"], out=tmp_path / "s") for _ in range(2)]
    first, again = (one.ranking.best for one in found if one.ranking is not None)
    assert (again.stored, again.scores) == ("0 computed by tensorflow, 34 read", first.scores)
    run = tfl.finetune(source, backbone="mobilenet_v2", augment=None, phases=[tfl.Phase(epochs=1)], folds=0, out=tmp_path / "r")
    facts = run.report.phases[0].features
    assert (facts["computed"], facts["read"]) == (0, 34)


def test_at_most_so_many_examples_in_proportion_to_their_classes(tmp_path: Path, loaded: list[Config]) -> None:
    rows = tiny.examples(120)
    found = tfl.select((rows.inputs["image"], rows.labels), backbones=["mobilenet_v2"], examples=40, out=tmp_path / "s")
    assert found.examples == 40
    assert found.recommended.name == "mobilenet_v2"
    assert found.ranking is not None
    assert found.ranking.best.scores.accuracy > 0.8


def test_defaults_that_cannot_be_loaded_are_left_out(
    photos: Path, tmp_path: Path, loaded: list[Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(DEFAULTS, "image", ("densenet121", "resnet50"))
    assert main(["select", str(photos), "--out", str(tmp_path / "s")]) == 0
    assert "densenet121: left out; weights: no network" in capsys.readouterr().out
    found = json.loads((tmp_path / "s" / "select.json").read_text())
    assert found["left_out"] == {"densenet121": "weights: no network"}
    assert main(["select", str(photos), "--backbones", "densenet121", "--out", str(tmp_path / "t")]) == 2
    assert "weights: no network" in capsys.readouterr().err


def test_one_that_is_interrupted_goes_on(
    photos: Path, tmp_path: Path, loaded: list[Config], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = frozen.features

    def interrupting(*args: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(*args)

    words = ["select", str(photos), "--backbones", "mobilenet_v2", "--out", str(tmp_path / "s")]
    with monkeypatch.context() as patch:
        patch.setattr(frozen, "features", interrupting)
        assert main(words) == 130
    assert "goes on" in capsys.readouterr().out
    assert not (tmp_path / "s" / "select.json").exists()
    assert main(words) == 0
    assert main([*words, "--cost", "parameters"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"tfl: --out: {tmp_path / 's'} holds another selection:\n  cost: seconds there, parameters now\n")


def test_texts_with_lower_cuts(calls: Path, tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["select", str(calls), "--label", "tone", "--backbones", f"{tiny_bert}", "--depths", "2"]
    assert main([*words, "--out", str(tmp_path / "s")]) == 0
    (one,) = json.loads((tmp_path / "s" / "select.json").read_text())["ranked"]
    assert one["dimensions"] == 16
    assert len(one["depths"]) >= 1


def test_places_are_ends_of_blocks_and_cost_less_the_lower_they_are() -> None:
    keras.utils.set_random_seed(0)
    backbone = tiny.backbone()
    found = frozen.places(backbone, 5)
    assert [place.name for place in found] == ["block2", "block1"]
    assert found[0].parameters > found[1].parameters
    assert [tuple(place.tensor.shape) for place in found] == [(None, 8), (None, 8)]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backbones", "mobilnet"], ["backbone: 'mobilnet' is not known"]),
        (["--examples", "3"], ["--examples: 3 is not valid; at least 10"]),
        (["--depths", "-1"], ["--depths: -1 is not valid"]),
        (["--cost", "money"], ["--cost: 'money' is not valid; seconds or parameters"]),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_imported(words: list[str], said: list[str]) -> None:
    code, heavy, message = run_alone(["select", "digits", *words])
    hold(code, message, said)
    assert not heavy


def test_a_selection_is_of_classes_and_of_backbones_that_read_the_data(
    photos: Path, tiny_bert: Path, tmp_path: Path, loaded: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["select", str(photos), "--backbones", f"{tiny_bert}", "--out", str(tmp_path / "s")]
    assert main(words) == 2
    assert "reads texts, but the data is images" in capsys.readouterr().err
    table = tmp_path / "t.csv"
    table.write_text("text,label\n" + "".join(f"{'rose ' * (place % 7)}fell,{place % 7 * 1.5}\n" for place in range(40)))
    words = ["select", str(table), "--label", "label", "--backbones", f"{tiny_bert}", "--out", str(tmp_path / "u")]
    assert main(words) == 2
    assert "the scores are of classes" in capsys.readouterr().err
