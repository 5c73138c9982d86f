"""Every YAML in configs/: it is valid, comes back from its dump, says how it is run; and those that need no network run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfl.config import dump, override, read
from tfl.jobs import config_of
from tfl.methods import METHODS
from tfl.validate import validate

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "configs").rglob("*.yaml"))
OFFLINE = [file for file in FILES if "flowers" not in file.name]
SMALL = ["data.max_train=32", "data.batch_size=16", "data.test=0.03", "data.validation=0.03"]


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_every_config(file: Path) -> None:
    config = config_of(read(file))
    assert config.method == file.parent.name
    import yaml

    assert validate(type(config), yaml.safe_load(dump(config))) == config
    header = [line for line in file.read_text().splitlines() if line.startswith("#")]
    assert any(f"configs/{file.parent.name}/{file.name}" in line for line in header), "the header gives the command"


class Witness(keras.callbacks.Callback):
    """Which variables change in each phase, seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[set[str]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self._before = {v.path: v.numpy() for v in self.model.variables}

    def on_train_end(self, logs: Any = None) -> None:
        now = {v.path: v.numpy() for v in self.model.variables if "seed_generator" not in v.path}
        self.changed.append({path for path, value in now.items() if not np.array_equal(value, self._before[path])})


@pytest.mark.parametrize("file", OFFLINE, ids=[file.stem for file in OFFLINE])
def test_it_runs_and_only_what_each_phase_declares_moves(file: Path, tmp_path: Path) -> None:
    raw = read(file)
    short = [f"phases.{number}.epochs=1" for number in range(len(raw["phases"]))]
    config = config_of(override(raw, [*SMALL, *short]))
    witness = Witness()
    run = METHODS[config.method].run(config, tmp_path / "run", callbacks=[witness])
    from tfl import backbones

    names = {block.name: block for block in backbones.load(config.backbone).blocks}
    weights = {v.path: v for v in run.model.variables if "seed_generator" not in v.path}
    head = {path for path in weights if path.startswith("head")}
    for phase, report, changed in zip(config.phases, run.report.phases, witness.changed, strict=True):
        layers = {layer.name for name in report.blocks for layer in names[name].layers}
        inside = {path for path in weights if path.split("/")[0] in layers}
        assert head <= changed, "the head trains in every phase"
        assert changed <= head | inside, "nothing outside the declared blocks moves"
        statistics = {path for path in inside if "moving_" in path}
        assert bool(changed & statistics) == (phase.batch_norm == "train" and bool(statistics))
        assert report.moved.still == ()
        expected = {"head": 0, "all": len(names)}.get(str(phase.trainable), getattr(phase.trainable, "last", None))
        assert len(report.blocks) == expected
        assert inside - statistics <= changed, "everything declared trainable moves"
    certificate = json.loads((run.export(tmp_path / "export") / "certificate.json").read_text())
    assert certificate["agreement"] == 1.0
    assert certificate["largest_difference"] <= 1e-5
