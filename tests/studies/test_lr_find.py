"""The range test: on problems whose best rate is known, on a tiny network, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfl
from tests import tiny
from tests.test_mistakes import hold
from tests.test_mistakes import run as run_alone
from tfl import backbones, distribute
from tfl.cli import main
from tfl.cut import cut
from tfl.models import Group
from tfl.phases import Phase
from tfl.studies.lr_find.lr_find import range_test
from tfl.studies.lr_find.rates import Curve, Sought, has_diverged


class Ones:
    """Batches of nothing but a 1."""

    def __len__(self) -> int:
        return 10

    def forever(self, epoch: int = 0, skip: int = 0, share: Any = None) -> tf.data.Dataset:
        batch = {"x": tf.ones((1, 1)), "index": tf.zeros(1, tf.int64)}
        return tf.data.Dataset.from_tensors(batch).repeat()


class Bowl:
    """The loss h/2 (w - 1)², whose gradient steps diverge above a rate that is proportional to 1/h."""

    metrics = ()

    def __init__(self, curvature: float) -> None:
        self.curvature = curvature

    def __call__(self, model: Any, batches: Any, step: Any) -> Any:
        w = model(batches["train"], training=True)
        return self.curvature / 2 * tf.reduce_sum((w - 1.0) ** 2)


def descend(curvature: float, **fields: Any) -> tuple[Curve, Any]:
    x = keras.Input((1,), name="x")
    model = keras.Model({"x": x}, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(x))
    phase = Phase(**{"optimizer": "sgd", "clip_norm": None, "weight_decay": 0.0, "learning_rate": 7.0, **fields})
    groups = [Group("all", model.trainable_variables, 1.0)]
    found = range_test(
        cut(model),
        Ones(),  # type: ignore[arg-type]
        Bowl(curvature),
        groups,
        phase,
        Sought(steps=120, lowest=1e-6, highest=100.0),
        strategy=distribute.strategy("auto"),
    )
    assert found is not None
    return found, model


@pytest.mark.parametrize("curvature", [0.5, 5.0, 500.0])
def test_the_suggestion_is_near_the_best_rate_of_a_quadratic(curvature: float) -> None:
    """Nesterov's steps of momentum m diverge above 2 (1 + m) / ((1 + 2 m) h), with m = 0.9 at 1.36 / h."""
    found, model = descend(curvature)
    limit = 2 * 1.9 / 2.8 / curvature
    assert found.diverged
    assert found.lowest < limit < found.rates[-1]
    assert found.suggested is not None
    assert limit / 200 < found.suggested < limit / 5
    assert model.trainable_variables[0].numpy().tolist() == [[0.0]], "the weights are as they were"


def test_the_rate_of_the_phase_its_schedule_and_its_averaging_change_nothing() -> None:
    one, _ = descend(5.0)
    other, _ = descend(5.0, learning_rate=1e-5, schedule="cosine", warmup=0.5, ema=0.9)
    assert one.losses == other.losses


def test_a_rate_is_paired_with_the_loss_after_its_update() -> None:
    """The first steps are so small that w is the sum of rates times curvature: the loss h/2 (1 - w)²."""
    found, _ = descend(1.0)
    assert found.losses[0] == pytest.approx(0.5 * (1 - 1.9e-6) ** 2, abs=2e-8)
    assert found.losses[0] < 0.5 - 1e-6


def shaped(centre: float, noise: float = 0.0, depth: float = 2.0) -> Curve:
    rates = np.geomspace(1e-6, 1, 120)
    losses = 2.3 - depth / (1 + np.exp(-4 * (np.log10(rates) - centre)))
    losses = np.where(rates > 0.3, 50.0, losses) + noise * np.random.default_rng(0).normal(size=120)
    return Curve(rates=tuple(rates), losses=tuple(losses), diverged=True)


@pytest.mark.parametrize("centre", [-3.0, -2.0])
def test_the_steepest_descent_is_found_through_noise(centre: float) -> None:
    found = shaped(centre, noise=0.05)
    assert abs(np.log10(found.steepest) - centre) < 0.3
    assert 0.05 < found.lowest < 0.35
    assert found.suggested == min(found.steepest, found.lowest / 10)


@pytest.mark.parametrize("batches", [4, 8, 16])
def test_batches_that_are_hard_again_and_again_do_not_make_the_first_rates_the_steepest(batches: int) -> None:
    """Each batch of an epoch is as hard as it was in the one before; so the first of all is far off in some tests."""
    rates, suggested = np.geomspace(1e-6, 1, 100), []
    for seed in range(100):
        random = np.random.default_rng(seed)
        hard = random.normal(1, 0.3, batches)[np.arange(100) % batches]
        losses = hard * (2.3 - 2 / (1 + np.exp(-4 * (np.log10(rates) + 2.5)))) + random.normal(0, 0.05, 100)
        losses = np.where(rates > 0.3, 50.0, losses)
        suggested.append(Curve(rates=tuple(rates), losses=tuple(losses), diverged=True).suggested)
    found = np.array([one for one in suggested if one is not None])
    assert len(found) > 90
    assert found.min() > 2e-5
    assert abs(np.log10(np.median(found)) + 2.5) < 0.3


def test_where_the_loss_is_lowest_near_the_start_there_is_a_steepest_rate() -> None:
    rates = np.geomspace(1e-6, 1, 100)
    found = Curve(rates=tuple(rates), losses=(2.0, 1.0, *np.linspace(0.5, 3, 98)), diverged=True)
    assert found.steepest <= found.lowest < 1e-5


def test_noise_alone_suggests_nothing() -> None:
    assert shaped(-2.0, noise=0.3, depth=0.0).suggested is None
    assert shaped(-2.0, noise=0.05).suggested is not None


def test_divergence_is_a_loss_that_stays_high() -> None:
    falling = np.linspace(2.3, 0.2, 40).tolist()
    assert not has_diverged([])
    assert not has_diverged(falling)
    assert not has_diverged([*falling, 2.0]), "one bad batch"
    assert has_diverged([*falling, *[9.0] * 4])
    assert has_diverged([2.3, float("nan")])


# --- on a network -----------------------------------------------------------------------------------------------------

PHASES = "phases=[{trainable: head, epochs: 1}, {trainable: block3, epochs: 1, layer_decay: 0.5, batch_norm: train}]"


@pytest.fixture
def tiny_backbone(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every backbone is the tiny one; those that were made."""
    made: list[Any] = []

    def load(config: Any) -> Any:
        made.append(tiny.backbone())
        return made[-1]

    monkeypatch.setattr(backbones, "load", load)
    return made


def test_it_leaves_a_picture_and_numbers_and_nothing_that_was_trained(
    photos: Path, tmp_path: Path, tiny_backbone: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lr-find", str(photos), "--backbone", "mobilenet_v2", "data.batch_size=8", PHASES, "--steps", "40"]
    assert main([*words, "--phase", "2", "--highest", "100", "--out", str(tmp_path / "f")]) == 0
    shown = capsys.readouterr().out
    assert "training what comes before phase 2" in shown
    assert "phase 2/2, block3" in shown
    found = json.loads((tmp_path / "f" / "lr_find.json").read_text())
    assert found["phase"] == 2
    assert len(found["rates"]) == len(found["losses"]) == len(found["smoothed"]) <= 40
    assert found["rates"][0] == pytest.approx(1e-6)
    names = {file.name for file in (tmp_path / "f").iterdir()}
    assert {"lr_find.png", "lr_find.svg", "lr_find.json"} <= names
    assert not [name for name in names if name.endswith((".keras", ".h5", ".npz"))]
    assert not (tmp_path / "f" / "session").exists()
    (backbone,) = tiny_backbone
    moving = backbone.model.get_layer("block3_bn").moving_mean.numpy()
    assert moving.tolist() == [0.0] * 16, "statistics are as they were, too"


def test_a_phase_that_is_not_there_names_those_that_are(
    photos: Path, tmp_path: Path, tiny_backbone: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["lr-find", str(photos), "--backbone", "mobilenet_v2", PHASES, "--out", str(tmp_path / "f")]
    for number in ("3", "0"):
        assert main([*words[:-1], str(tmp_path / number), "--phase", number]) == 2
        assert f"--phase: {number} is not valid; this job has 1 (head), 2 (block3)" in capsys.readouterr().err


def test_it_is_there_in_python(tmp_path: Path, tiny_backbone: list[Any]) -> None:
    rows = tiny.examples(60)
    found = tfl.lr_find(
        (rows.inputs["image"], rows.labels),
        backbone="mobilenet_v2",
        steps=30,
        highest=10.0,
        data={"batch_size": 8},
        phases=[Phase(epochs=1)],
        augment=None,
        out=tmp_path / "f",
    )
    assert found.curve is not None
    assert found.suggested is None or 1e-6 < found.suggested < 10
    assert found.phase == Phase(epochs=1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--steps", "3"], ["--steps: 3 is not valid; at least 20"]),
        (["--lowest", "1", "--highest", "0.1"], ["1 to 0.1 is no range"]),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_imported(words: list[str], said: list[str]) -> None:
    code, heavy, message = run_alone(["lr-find", "digits", "--backbone", "resnet50", *words])
    hold(code, message, said)
    assert not heavy
