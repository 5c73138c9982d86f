"""tfl: the transfer-learning workbench for Keras 3 on TensorFlow.

    run = tfl.finetune("photos/", backbone="resnet50")     # or a DataFrame, or (arrays, labels)
    run.metrics; run.predict(["a.jpg"]); run.export("exports/photos"); run.model
    run = tfl.load("runs/photos")
    backbone = tfl.load_backbone("resnet50", trainable=False)
    tfl.select("photos/", backbones=["mobilenet_v2", "resnet50"]).recommended
    tfl.lr_find("photos/", backbone="resnet50", phase=2).suggested
    tfl.sweep("photos/", {"task.dropout": [0, 0.2]}, backbone="resnet50").ranked
    tfl.compare("photos/", backbone="resnet50", labels=[5, 20, "all"]).effects
    tfl.audit("runs/photos").findings

Importing `tfl` is cheap: TensorFlow is imported when something needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfl.config import UserError
from tfl.phases import Last, Lora, Phase

if TYPE_CHECKING:
    from tfl.backbones import Backbone
    from tfl.run import Run
    from tfl.studies.audit.audit import Audit
    from tfl.studies.compare.compare import Comparison
    from tfl.studies.lr_find.lr_find import Found
    from tfl.studies.select.select import Selection
    from tfl.studies.sweep.sweep import Sweep

__version__ = "0.1.0"

if "tensorflow" not in sys.modules:
    # TensorFlow by itself takes oneDNN on some processors only. It is quicker on all, and with it a row of a batch has the
    # same bits wherever it stands in the batch, on which the feature store relies.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


# A GPU's memory is taken as it is needed: the process that certifies an export computes on the same one.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")


def finetune(
    source: Any,
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None = None,
    out: str | Path | None = None,
    callbacks: Sequence[Any] = (),
    **fields: Any,
) -> Run:
    """Fine-tunes `backbone` on labelled examples and returns the run.

    `source`: a folder of images, a table of texts, any path that `tfl train` takes, a raw `data` config, a pandas
    DataFrame, or a pair (arrays, texts or image paths; labels). `backbone`: a name, or a raw `backbone` config.
    `fields` are those of the config, nested ones as dicts:
    `phases=[Phase(epochs=2)]`, `data={"batch_size": 16}`, `seed=1`.
    Raises `UserError` for what the user can put right.
    """
    from tfl.calls import finetune as job

    return job(source, backbone=backbone, weights=weights, out=out, callbacks=callbacks, fields=fields)


def select(
    source: Any,
    *,
    backbones: Sequence[str | Mapping[str, Any]] | str | None = None,
    out: str | Path | None = None,
    examples: int = 2000,
    depths: int = 0,
    cost: Literal["seconds", "parameters"] = "seconds",
    **fields: Any,
) -> Selection:
    """Ranks `backbones` (names, `NAME@WEIGHTS`, raw `backbone` configs; None: a few of the table) by their frozen features.

    `source` and `fields` are those of `finetune`; keys of `backbone` among them hold for all candidates. `examples`: at most
    so many, of the training and validation splits; `depths`: lower places to cut each backbone at; `cost`: what decides
    among those that the data cannot tell apart. Raises `UserError` for what the user can put right.
    """
    from tfl.calls import select as job

    options = {"examples": examples, "depths": depths, "cost": cost}
    return job(source, backbones=backbones, out=out, options=options, fields=fields)


def lr_find(
    source: Any,
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None = None,
    phase: int = 1,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    out: str | Path | None = None,
    **fields: Any,
) -> Found:
    """The learning-rate range test of a `phase`, from 1 on: `steps` updates at rates from `lowest` to `highest`.

    `source`, `backbone`, `weights` and `fields` are those of `finetune`. Nothing that was trained is kept. Raises `UserError`
    for what the user can put right.
    """
    from tfl.calls import lr_find as job

    options = {"phase": phase, "steps": steps, "lowest": lowest, "highest": highest}
    return job(source, backbone=backbone, weights=weights, out=out, options=options, fields=fields)


def sweep(
    source: Any,
    space: Mapping[str, Sequence[Any] | str],
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None = None,
    trials: int = 20,
    best: bool = True,
    out: str | Path | None = None,
    **fields: Any,
) -> Sweep:
    """Tries values of keys of the config, and keeps the best by the validation split. Needs Optuna.

    `source`, `backbone`, `weights` and `fields` are those of `finetune`. `space`: for each key what is tried, a list of values
    or a range: `{"task.dropout": [0, 0.2], "phases.0.learning_rate": "1e-4..1e-2"}`. Every combination is tried where there are
    no more than `trials`, else Optuna proposes. The result's `ranked` are the trials, best first; where `best` is true, `run`
    is that of the best. The same call with the same `out` goes on with a sweep that was interrupted. Raises `UserError` for
    what the user can put right.
    """
    from tfl.calls import sweep as job

    return job(source, space=space, backbone=backbone, weights=weights, out=out, trials=trials, best=best, fields=fields)


def compare(
    source: Any,
    *,
    backbone: str | Mapping[str, Any],
    weights: str | None = None,
    labels: Sequence[int | str] | None = None,
    seeds: int = 5,
    methods: Sequence[str] | None = None,
    updates: int | None = None,
    budget: float | None = None,
    endpoint: str | None = None,
    out: str | Path | None = None,
    **fields: Any,
) -> Comparison:
    """Did the transfer help? `methods` against the same architecture from scratch, on the same budget, with paired `seeds`.

    `source`, `backbone`, `weights` and `fields` are those of `finetune`. `labels`: so many of each class, numbers or "all"
    (None: 5, 10, 20, 50, all, as far as the data goes); `methods`: of scratch, head, top, full, lora, config; `updates` of each
    training, or `budget`, its seconds; `endpoint`: what the verdict is about, such as end@20 (None: the end at the largest
    count). The first of the result's `effects` is that of the primary end point. The same call with the same `out` goes on
    with a comparison that was interrupted. Raises `UserError` for what the user can put right.
    """
    from tfl.calls import compare as job

    chosen = {"labels": labels, "seeds": seeds, "methods": methods}
    options = {**chosen, "updates": updates, "budget": budget, "endpoint": endpoint}
    return job(source, backbone=backbone, weights=weights, out=out, options=options, fields=fields)


def audit(
    run: Run | str | Path,
    *,
    sections: Sequence[str] = (),
    slices: Sequence[str] = (),
    scratch: Run | str | Path | None = None,
    ood: str | Path | None = None,
    limit: int = 128,
) -> Audit:
    """Where does a finished `run` fail? Writes `audit.json` into its directory, and the page of the run anew.

    `sections`: what is asked, of calibration, slices, robustness, confidence, labels, overfitting, cues (none named: all);
    `slices`: columns of the source's table, or class, folder, length; `scratch`: a run of the same network from random weights
    on the same data; `ood`: a source of input of another kind; `limit`: examples, at most, that are predicted again and again.
    The result's `findings` are the worst first, `skipped` says why a section was not asked. Raises `UserError` for what the
    user can put right.
    """
    from tfl.calls import audit as job

    return job(run, sections=sections, slices=slices, scratch=scratch, ood=ood, limit=limit)


def load(directory: str | Path) -> Run:
    """The finished run in `directory`. Raises `UserError` where there is none."""
    from tfl.run import load as load_run

    return load_run(directory)


def load_backbone(name: str, *, weights: str = "pretrained", trainable: Any = True, **fields: Any) -> Backbone:
    """A pre-trained backbone, to use in a Keras model of one's own; see `tfl.backbones.load`."""
    from tfl import backbones

    return backbones.load(name, weights=weights, trainable=trainable, **fields)


__all__ = [
    "Last",
    "Lora",
    "Phase",
    "UserError",
    "__version__",
    "audit",
    "compare",
    "finetune",
    "load",
    "load_backbone",
    "lr_find",
    "select",
    "sweep",
]
