"""Imports point one way: down the list of layers in docs/architecture.md. And importing tfl costs next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = (
    ("__main__",),
    ("cli", "__init__"),
    ("questions", "calls"),
    ("jobs", "launch", "mistyped", "parser", "predictions"),
    ("studies",),
    ("methods",),
    ("reporting",),
    ("run",),
    ("serving",),
    ("training",),
    ("passes",),
    ("step", "evaluate", "export", "predict", "batch_norm", "progress"),
    ("optimizers",),
    ("features",),
    ("models", "cut"),
    ("data", "backbones", "tasks", "distribute", "report", "terminal", "directory"),
    ("checkpoint",),
    ("bootstrap", "graphs", "interrupt", "kinds", "locks", "phases", "sealed", "share", "temperature", "validate", "whole"),
    ("cache", "config", "lazy"),
)
LEVEL = {name: len(LAYERS) - place for place, names in enumerate(LAYERS) for name in names}


def imports(path: Path) -> Iterator[str]:
    """The top-level parts of tfl that a module imports when it runs: `config` for `from tfl.config import …`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "tfl":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tfl."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tfl."))


MODULES = sorted((ROOT / "tfl").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_imports_point_down(path: Path) -> None:
    parts = path.relative_to(ROOT / "tfl").with_suffix("").parts
    own = parts[0]
    assert own in LEVEL, f"{own} stands in no layer: add it to LAYERS where it belongs"
    for name in imports(path):
        known = name if name in LEVEL else "__init__"
        same = known == own and len(parts) > 1
        assert same or LEVEL[known] < LEVEL[own], f"{path.name} imports tfl.{name}"


@pytest.mark.parametrize("code", ["import tfl", "import tfl.cli; tfl.cli.main(['list', 'backbones'])", "import tfl.data"])
def test_importing_is_cheap(code: str) -> None:
    check = "import sys; print([m for m in ('tensorflow', 'keras', 'pandas', 'pydantic', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_mistake_about_an_export_needs_no_tensorflow() -> None:
    code = "import sys, tfl.cli; print(tfl.cli.main(['verify', 'nothing']), tfl.cli.main(['serve', 'nothing']))"
    code += "; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["2 2", "False"]
    assert "not an export" in done.stderr


def test_tensorflow_starts_quietly() -> None:
    code = "from tfl.lazy import tf; print(tf.ones(2).shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert (done.stdout.strip(), done.stderr) == ("(2,)", "")
