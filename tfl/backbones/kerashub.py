"""The text encoders of KerasHub as backbones, from a preset, a folder, a hub or an installed package."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfl.backbones.applications import own_names
from tfl.backbones.backbone import Backbone
from tfl.backbones.blocks import Block, Graph, split
from tfl.backbones.config import Config
from tfl.backbones.sources import hub_error, installed, keras_cache, package_folder, reachable
from tfl.backbones.text import TextPreprocess
from tfl.backbones.weights import FILES, WeightsReport, sha256, sha256_of_values
from tfl.config import UserError
from tfl.lazy import keras, keras_hub

ENCODER_LAYER = re.compile(
    r"^(?:transformer_layer_(\d+)|disentangled_attention_encoder_layer_(\d+)|group_(\d+)_inner_layer_\d+)$"
)
"""The transformer layers of the families: BERT and most others, DeBERTaV3, ALBERT (whose layers of a group share
weights).
"""
MAX_LENGTH = 256
"""Tokens, at most, where the config does not say: attention costs the square of it."""
HF_HOST = "huggingface.co"


@dataclass(frozen=True)
class Text:
    """One text encoder: a line of the table."""

    sources: tuple[str, ...]
    """Where its files are, tried in this order: package://, a folder's name in Keras's cache (cache://), hf://, a
    preset.
    """
    about: str = ""
    modality = "text"

    @property
    def summary(self) -> str:
        """One line for `tfl list backbones`."""
        return f"KerasHub, {self.about or self.sources[-1]}"

    def source(self) -> str:
        """The first of `sources` whose files are on this machine, else the last."""
        for source in self.sources[:-1]:
            if source.startswith("package://") and installed(source):
                return source
            folder = keras_cache() / source.removeprefix("cache://")
            if source.startswith("cache://") and (folder / "config.json").is_file():
                return str(folder)
        return self.sources[-1]

    def load(self, config: Config, names: tuple[str, ...] = ()) -> Backbone:
        """The backbone that `config` asks for; `names`, those of the table, are for errors."""
        handle, file = self._handle(config)
        folder = _local(handle, names)
        complete_keras_hub()
        with own_names():
            encoder = _ask(handle, names, lambda: _encoder(folder, config.weights != "none" and file is None))
            if file is not None:
                _load_file(encoder, file, config.name)
            sequence = encoder.output["sequence_output"] if isinstance(encoder.output, dict) else encoder.output
            features = _pool(sequence, encoder.input["padding_mask"], _pooling(config.pooling, folder, encoder))
        model = keras.Model(encoder.input, features, name=re.sub(r"\W", "_", config.name))
        preprocess = _ask(handle, names, lambda: TextPreprocess.of(folder, encoder, config.sequence_length, MAX_LENGTH))
        blocks = _blocks(model)
        return Backbone(
            name=config.name,
            modality="text",
            model=model,
            outputs={"features": features, "sequence": sequence},
            preprocess=preprocess,
            blocks=blocks,
            weights=_report(config, handle, folder, file, blocks, encoder, model),
        )

    def untrained(self, config: Config) -> Config:
        """`config` with random weights; network and vocabulary stay those of the files that its weights come from."""
        handle, _ = self._handle(config)
        name = config.name if handle == self.source() else handle
        return dataclasses.replace(config, name=name, weights="none")

    def _handle(self, config: Config) -> tuple[str, Path | None]:
        """Whose config, vocabulary and weights to use, and the file of weights where `config` names one by itself."""
        weights = config.weights
        if weights == "imagenet":
            raise UserError(
                f"weights: imagenet is for images; {config.name} is for texts: pretrained, none, a folder or a handle"
            )
        if weights in ("pretrained", "none"):
            return self.source(), None
        if weights.endswith(FILES):
            if not Path(weights).is_file():
                raise UserError(f"weights: {weights}: no such file")
            beside = Path(weights).parent
            return (str(beside) if (beside / "config.json").is_file() else self.source()), Path(weights)
        return weights, None


def _local(handle: str, names: tuple[str, ...]) -> str:
    """`handle` as KerasHub takes it; what is on disk already as a folder. Fails fast where a hub cannot be reached."""
    if handle.startswith("package://"):
        return str(package_folder(handle))
    if handle.startswith("hf://"):
        if not reachable(HF_HOST):  # the client would retry for half a minute, file by file
            import huggingface_hub

            try:
                return huggingface_hub.snapshot_download(handle.removeprefix("hf://"), local_files_only=True)
            except Exception as error:
                raise hub_error(handle, OSError(f"{HF_HOST} cannot be reached"), names) from error
        return handle
    if "://" not in handle and (os.sep in handle or Path(handle).exists()):
        folder = Path(handle)
        if not (folder / "config.json").is_file():
            found = "no such folder" if not folder.is_dir() else "it has no config.json"
            raise UserError(f"weights: {handle}: {found}; a text backbone needs a KerasHub preset or a Hugging Face folder")
    return handle


def _ask(handle: str, names: tuple[str, ...], read: Callable[[], Any]) -> Any:
    """`read()`, with every way in which a hub or a folder can fail turned into a `UserError`."""
    try:
        return read()
    except UserError:
        raise
    except Exception as error:  # kagglehub, requests, huggingface_hub, h5py and KerasHub each raise their own
        if "://" in handle and not handle.startswith("package://"):
            raise hub_error(handle, error, names) from error
        if handle.startswith("package://") or Path(handle).is_dir():
            cause = " ".join(str(error).split())[:300]
            raise UserError(f"weights: {handle}: not the files of a text encoder that KerasHub reads: {cause}") from error
        raise hub_error(handle, error, names) from error


def _encoder(folder: str, load_weights: bool) -> Any:
    encoder = keras_hub.models.Backbone.from_preset(folder, load_weights=load_weights)
    if not isinstance(encoder.input, dict) or not {"token_ids", "padding_mask"} <= set(encoder.input):
        raise UserError(f"{folder}: {type(encoder).__name__} is not a text encoder; BERT, RoBERTa, ALBERT, DeBERTaV3, … are")
    return encoder


def _load_file(encoder: Any, file: Path, name: str) -> None:
    try:
        encoder.load_weights(str(file))
    except Exception as error:
        cause = " ".join(str(error).split())[:300]
        raise UserError(f"weights: {file}: weights of another network, not of {name}: {cause}") from error


def _pooling(asked: str, folder: str, encoder: Any) -> Literal["mean", "cls", "max"]:
    """How to pool where the config says auto: as the model's own files say; else cls for families pre-trained with a
    pooler.
    """
    if asked == "avg":
        return "mean"
    if asked in ("mean", "cls", "max"):
        return asked  # type: ignore[return-value]
    with suppress(OSError, ValueError):
        said = json.loads(Path(folder, "1_Pooling", "config.json").read_text(encoding="utf-8"))
        if said.get("pooling_mode_cls_token"):
            return "cls"
        return "max" if said.get("pooling_mode_max_tokens") else "mean"
    return "cls" if isinstance(encoder.output, dict) and "pooled_output" in encoder.output else "mean"


def _pool(sequence: Any, mask: Any, pooling: Literal["mean", "cls", "max"]) -> Any:
    """`sequence` [N, L, C] as features [N, C]; tokens where `mask` [N, L] is 0 do not count.

    `cls` is the last hidden state of the first token, not BERT's pooled output: the same in every family, and the
    pooler was trained on telling the next sentence, behind a tanh.
    """
    if pooling == "cls":
        return keras.layers.Identity(name="features")(sequence[:, 0, :])
    if pooling == "mean":
        return keras.layers.GlobalAveragePooling1D(name="features")(sequence, mask=mask)
    lowest = keras.ops.cast(keras.ops.expand_dims(1 - mask, -1), sequence.dtype) * -1e4
    return keras.layers.GlobalMaxPooling1D(name="features")(sequence + lowest)


def _blocks(model: keras.Model) -> tuple[Block, ...]:
    """`embeddings`, then each transformer layer as `layer_0`, `layer_1`, …, or each group of ALBERT as `group_0`, …"""
    graph = Graph(model)
    ends: dict[str, int] = {}
    for operation in graph.operations:
        found = ENCODER_LAYER.match(operation.name)
        if found:
            ends.setdefault("embeddings", graph.below(operation))
            name = f"group_{found.group(3)}" if found.group(3) else f"layer_{found.group(1) or found.group(2)}"
            ends[name] = ends.get(name, 0) | graph.up_to(operation)
    if not ends:
        raise UserError(f"{model.name}: none of its layers is a transformer layer of a family that tfl knows")
    return split(graph, ends.items())


def _report(
    config: Config,
    handle: str,
    folder: str,
    file: Path | None,
    blocks: tuple[Block, ...],
    encoder: Any,
    model: keras.Model,
) -> WeightsReport:
    used = tuple(layer.name for block in blocks for layer in block.layers if layer.weights)
    if config.weights == "none":
        return WeightsReport("none (random)", missing=used)
    kept = {id(layer) for layer in model.layers}
    off_path = tuple(layer.name for layer in encoder.layers if layer.weights and id(layer) not in kept)
    found = file or next(
        (path for name in ("model.safetensors", "model.weights.h5") if (path := Path(folder, name)).is_file()), None
    )
    told = sha256(found) if found else sha256_of_values(layer for block in blocks for layer in block.layers)
    return WeightsReport(str(file or handle), told, used, (), off_path)


def complete_keras_hub() -> None:
    """Imports KerasHub, and gives DeBERTa's relative embedding the `build` without which a `.keras` file does not load.

    The layer makes its normalisation's weights in its first call, and Keras restores a layer's weights by what `build`
    makes.
    """
    from keras_hub.src.models.deberta_v3.relative_embedding import RelativeEmbedding

    def build(self: Any, input_shape: Any) -> None:
        self.layer_norm.build((None, None, self.hidden_dim))

    if "build" not in vars(RelativeEmbedding):
        RelativeEmbedding.build = build
