"""The notebooks run from top to bottom, on what there is, with a small job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_a_notebook_runs_on_the_cpu(path: Path, tmp_path: Path) -> None:
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    small = {"TFL_SOURCE": "digits", "TFL_BACKBONE": "mobilenet_0.25", "TFL_WEIGHTS": "none", "TFL_FOLDER": str(tmp_path)}
    env = {**os.environ, **small, "TFL_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", "\n\n".join(cells)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "distribute: auto, precision: float32" in done.stdout
    assert len(list(tmp_path.glob("export/*/1/certificate.json"))) == 1
