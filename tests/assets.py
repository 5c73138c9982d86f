"""Real weights and data for tests, which live outside the project; a test that needs one skips where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("TFL_ASSETS", Path(__file__).resolve().parents[2] / "shared" / "assets"))


def asset(path: str) -> Path:
    """The file or folder `path` below the assets; skips the test where it is not there."""
    found = ROOT / path
    if not found.exists():
        pytest.skip(f"needs {path} below {ROOT} (TFL_ASSETS)")
    return found
