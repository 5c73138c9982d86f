"""What several test modules need: a small BERT in a folder, a small folder of images, a table of texts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfl  # noqa: F401  before TensorFlow, which reads once by which kernels it computes

CACHE = tempfile.TemporaryDirectory(prefix="tfl-test-")
os.environ["TFL_CACHE"] = CACHE.name
"""Tests and the processes that they start have a store of their own."""

WORDS = [
    "sales",
    "rose",
    "fell",
    "costs",
    "the",
    "this",
    "year",
    "sharply",
    "a",
    "little",
    "again",
    "we",
    "saw",
    "that",
]


LONG = (
    "test_xla",
    "test_resume",
    "test_configs",
    "test_server",
    "test_kerashub",
    "test_finetune",
    "test_engine",
    "test_targets",
)
"""The modules that take minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long modules come first, so that of two processes neither waits for the other at the end."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def no_pages() -> Iterator[Any]:
    """Runs leave no page, which would take longer than many of them; tests/reporting makes the pages. Gives what makes them."""
    from tfl import reporting

    attempt = reporting.attempt
    reporting.attempt = lambda *_: None
    yield attempt
    reporting.attempt = attempt


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium; skips where it, or Playwright, is not installed."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium")
    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
    ]
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset folder of a two-layer BERT of width 16, with a vocabulary of a few words."""
    import keras
    import keras_hub

    folder = tmp_path_factory.mktemp("bert")
    keras.utils.set_random_seed(3)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 24}
    keras_hub.models.BertBackbone(vocabulary_size=len(vocabulary), **sizes).save_to_preset(str(folder))
    keras_hub.models.BertTokenizer(vocabulary, lowercase=True).save_to_preset(str(folder))
    return folder


@pytest.fixture(scope="session")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 sentences in which "rose" is up and "fell" is down."""
    random = np.random.default_rng(0)
    lines = ["text,tone"]
    for number in range(60):
        words = [*random.choice(WORDS[3:], random.integers(2, 9)), "rose" if number % 2 else "fell"]
        lines.append(f"{' '.join(random.permutation(words))} {number},{'up' if number % 2 else 'down'}")
    file = tmp_path_factory.mktemp("table") / "calls.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 small PNG images, dark ones and bright ones, of several sizes."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for name, level in (("dark", 60), ("bright", 190)):
        (folder / name).mkdir()
        for number in range(20):
            height, width = random.integers(30, 60, 2)
            pixels = np.clip(random.normal(level, 40, (height, width, 3)), 0, 255).astype(np.uint8)
            (folder / name / f"{number:02}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    return folder


@pytest.fixture
def all_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is frozen is stored however fast it is computed: a tiny network is computed faster than it is read."""
    from tfl.features import frontier

    monkeypatch.setattr(frontier, "WORTH", 0)


@pytest.fixture
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is on disk before the next step, however slow the disk is."""
    from tfl.checkpoint import Checkpoints

    real = Checkpoints.write
    monkeypatch.setattr(Checkpoints, "write", lambda self, state, wait=False: real(self, state, wait=True))
