"""tfl: the transfer-learning workbench for Keras 3 on TensorFlow.

    run = tfl.finetune("photos/", backbone="resnet50")     # or a DataFrame, or (arrays, labels)
    run.metrics; run.predict(["a.jpg"]); run.export("exports/photos"); run.model
    run = tfl.load("runs/photos")
    backbone = tfl.load_backbone("resnet50", trainable=False)

Importing `tfl` is cheap: TensorFlow is imported when something needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfl.config import UserError
from tfl.phases import Last, Lora, Phase

if TYPE_CHECKING:
    from tfl.backbones import Backbone
    from tfl.run import Run

__version__ = "0.1.0"

if "tensorflow" not in sys.modules:
    # TensorFlow by itself takes oneDNN on some processors only. It is quicker on all, and with it a row of a batch has the
    # same bits wherever it stands in the batch, on which the feature store relies.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


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
    from tfl.jobs import finetune as job

    return job(source, backbone=backbone, weights=weights, out=out, callbacks=callbacks, fields=fields)


def load(directory: str | Path) -> Run:
    """The finished run in `directory`. Raises `UserError` where there is none."""
    from tfl.run import load as load_run

    return load_run(directory)


def load_backbone(name: str, *, weights: str = "pretrained", trainable: Any = True, **fields: Any) -> Backbone:
    """A pre-trained backbone, to use in a Keras model of one's own; see `tfl.backbones.load`."""
    from tfl import backbones

    return backbones.load(name, weights=weights, trainable=trainable, **fields)


__all__ = ["Last", "Lora", "Phase", "UserError", "__version__", "finetune", "load", "load_backbone"]
