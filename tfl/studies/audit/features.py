"""Frozen features of examples, by way of the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfl import backbones
from tfl.backbones.config import Config as BackboneConfig
from tfl.cut import cut
from tfl.data.examples import Examples
from tfl.data.pipeline import prepare
from tfl.features.config import Features
from tfl.features.extract import Extractor, Request
from tfl.lazy import keras, tf
from tfl.models import features_of
from tfl.predict import Forward
from tfl.studies.audit.subject import Subject
from tfl.validate import validate

NAME = "features"


def of(subject: Subject, rows: Examples) -> tuple[np.ndarray, str]:
    """`[N, D] float32` in the order of `rows`, and what they are features of.

    They are those of the backbone as it was published: the run's own have seen the labels. From random weights there is no
    such backbone, and then they are the run's.
    """
    raw, facts = subject.config["backbone"], subject.run.facts
    blocks: Any = ()
    if raw["weights"] == "none":
        model, preprocess, origin = subject.run.model, subject.run.preprocess, "the run's own features, which know the labels"
        tensor = features_of(model)
    else:
        backbone = backbones.load(validate(BackboneConfig, raw))
        backbone.unfreeze("none")
        model, preprocess, blocks = backbone.model, backbone.preprocess, backbone.blocks
        tensor, origin = backbone.outputs["features"], f"frozen features of {backbone.name}"
    stored: dict[str, Any] = {"modality": facts.modality, "batch_size": facts.batch_size, "resize": facts.resize}
    batches = prepare(rows, preprocess, reduced=True, **stored)  # as for training, whose features the store may have
    config = subject.config.get("features")
    extractor = Extractor(validate(Features, config) if config else None, say=lambda _: None)
    whole = cut(keras.Model(model.input, {NAME: tensor}))
    request = Request(cut=whole, blocks=blocks, streams={"rows": batches}, backbone=raw["name"])
    found = extractor.extract(request)
    values = Forward(found.cut, tf.distribute.get_strategy())(found.streams["rows"])[NAME]
    return values.reshape(len(values), -1).astype(np.float32), origin
