"""Runs of both kinds, tiny, and their exports."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import tfl
from tfl import Phase


@pytest.fixture(scope="session")
def image_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trained on photos that are not square, so that the way of resizing counts.

    After 8 epochs in place of 30 the last bit of the input moves a probability by 4e-5; after these, by 1e-6.
    """
    return tfl.finetune(
        str(photos),
        backbone={"name": "mobilenet_0.25", "image_size": 32, "weights": "none"},
        phases=[Phase(trainable="all", batch_norm="train", epochs=30, learning_rate=1e-2)],
        data={"batch_size": 8, "test": 0.4},
        out=tmp_path_factory.mktemp("served") / "images",
    )


@pytest.fixture(scope="session")
def text_run(calls: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a tiny BERT."""
    return tfl.finetune(
        str(calls),
        backbone={"name": str(tiny_bert), "pooling": "mean"},
        phases=[Phase(trainable="all", epochs=5, learning_rate=1e-2)],
        data={"label": "tone", "batch_size": 8},
        out=tmp_path_factory.mktemp("served") / "texts",
    )


@pytest.fixture(scope="session")
def image_export(image_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `image_run`, with one version of the model `photos`."""
    folder = tmp_path_factory.mktemp("exports") / "images"
    image_run.export(folder, name="photos")
    return folder


@pytest.fixture(scope="session")
def text_export(text_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `text_run`, with one version of the model `calls`."""
    folder = tmp_path_factory.mktemp("exports") / "texts"
    text_run.export(folder, name="calls")
    return folder


@pytest.fixture(scope="session")
def both(image_export: Path, text_export: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with the models `photos` and `calls`."""
    folder = tmp_path_factory.mktemp("bundle") / "both"
    shutil.copytree(image_export, folder)
    shutil.copytree(text_export / "calls", folder / "calls")
    return folder
