"""A planted cue, a coloured corner that marks a class in training and not in test, shows up in the audit; without one, none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfl
from tests import tiny
from tfl import Phase, backbones
from tfl.studies.audit import audit as audits
from tfl.studies.audit.audit import Audit, Options

CUE = (0, 255, 0)


def images(count: int, seed: int, marked: bool, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """Noise in two classes, the second brighter by `gap`; `marked`: with a green corner, bottom right."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    pixels = random.normal(110 + gap * labels[:, None, None, None], 40, (count, tiny.SIZE, tiny.SIZE, 3))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if marked:
        pixels[labels == 1, -4:, -4:] = CUE
    return pixels, labels


def audited(folder: Path, monkeypatch: pytest.MonkeyPatch, marked: bool, gap: float) -> Audit:
    """The audit of a run on `images`, whose test split is never marked."""
    monkeypatch.setattr(backbones, "load", lambda config: tiny.backbone())
    x_train, y_train = images(200, 0, marked, gap)
    x_test, y_test = images(120, 1, False, gap)
    np.savez(folder / "data.npz", x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    run = tfl.finetune(
        str(folder / "data.npz"),
        backbone={"name": "mobilenet_0.25", "weights": "none"},
        phases=[Phase(trainable="all", batch_norm="train", epochs=8, learning_rate=1e-2)],
        augment=None,
        out=folder / "run",
    )
    asked = ("cues", "overfitting") if marked else ()
    return audits.audit(run, Options(sections=asked, scratch=run, limit=30))


def of(done: Audit, section: str) -> list[Any]:
    return [one for name, one in done.findings if name == section]


def test_a_planted_corner_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = audited(tmp_path, monkeypatch, marked=True, gap=4)
    decides, mark = sorted(of(done, "cues"), key=lambda one: one.text)
    assert (decides.level, mark.level) == ("serious", "serious")
    assert "a cue in the bottom right corner marks 1" in decides.text
    assert "in the bottom right corner (row 16, column 16 of 16) alone tells" in mark.text
    (marked,) = [one for one in done.sections["cues"].facts["classes"] if one["class"] == "1"]
    assert (marked["row"], marked["column"]) == (3, 3)
    assert marked["turned"]["low"] > 0.5
    assert marked["share_of_fall"] > 0.5
    assert any("harder than the validation split" in one.text for one in of(done, "overfitting"))


def test_where_there_is_no_cue_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = audited(tmp_path, monkeypatch, marked=False, gap=60)
    assert of(done, "cues") == []
    assert done.sections["cues"].facts["images"] == 24
    assert of(done, "overfitting") == []
    assert done.skipped == {}
    _asks_images_the_rest(done)


def _asks_images_the_rest(done: Audit) -> None:
    corrupted = done.sections["robustness"].facts["corruptions"]
    assert {(one["corruption"], one["strength"]) for one in corrupted} == {
        (name, strength) for name in ("noise", "blur", "brightness", "JPEG") for strength in (1, 2, 3)
    }
    brighter = [one["value"] for one in corrupted if one["corruption"] == "brightness"]
    assert brighter[0] > brighter[2], "the second class is the brighter one"
    assert done.sections["confidence"].facts["foreign"]["images of noise"]["examples"] == 30
    beside = done.sections["slices"].facts["columns"]["class"]["scratch"]
    assert (beside["more"]["value"], beside["verdict"]) == (0, "no difference"), "beside itself"
    assert done.sections["labels"].facts["examples"] == 320
