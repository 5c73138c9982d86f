"""TF2 SavedModels, of TF Hub or of one's own, as backbones that train under Keras 3."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tfl.backbones.applications import ImagePreprocess, Mode
from tfl.backbones.backbone import Backbone
from tfl.backbones.blocks import Block
from tfl.backbones.config import PREPROCESS, Config
from tfl.backbones.sources import hub_error, reachable
from tfl.backbones.weights import WeightsReport, sha256_of_values
from tfl.config import UserError
from tfl.lazy import keras, tf

SIZE = 224


class StringPreprocess:
    """For modules that take strings: hands them on. Strings do not travel between devices, so such a backbone runs on
    one.
    """

    sequence_length = None
    pad_values: Mapping[str, int] = MappingProxyType({})
    """Nothing is padded: `tfl.data.prepare` then batches the texts as they are."""

    def __call__(self, text: Any, text_pair: Any = None) -> dict[str, Any]:
        """`text`: [N] string, unchanged. Raises `UserError` for a pair."""
        if text_pair is not None:
            raise UserError("a TF Hub text module takes one text; sentence pairs need a KerasHub backbone")
        return {"text": tf.convert_to_tensor(text)}

    def save(self, folder: str | Path) -> None:
        """Writes what `tfl.backbones.load_preprocess` reads; the module itself has the vocabulary."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, PREPROCESS).write_text(json.dumps({"kind": "string"}), encoding="utf-8")


@dataclass(frozen=True)
class HubModule:
    """A TF2 SavedModel with a `__call__`, by the handle or the folder that `weights` (or the name itself) gives."""

    handle: str = ""
    modality = None
    """Known once the module is loaded."""

    @property
    def summary(self) -> str:
        """One line for `tfl list backbones`."""
        return "a TF2 SavedModel of TF Hub: weights: HANDLE|FOLDER; images in 0 to 1 (as integers: 0 to 255), or strings"

    def load(self, config: Config, names: tuple[str, ...] = ()) -> Backbone:
        """The backbone that `config` asks for: one block, `module`."""
        from tfl.backbones.hub_layer import HubLayer

        handle = self.handle or config.weights
        if handle in ("pretrained", "imagenet", "none") or config.weights == "none":
            raise UserError("weights: a hub module is its weights: a TF Hub handle or a folder with saved_model.pb")
        folder = _resolve(handle, names)
        layer = HubLayer(folder, name="module")
        if layer.takes_strings:
            _on_one_device()
            inputs = {"text": keras.Input((), dtype="string", name="text")}
        else:
            size = config.image_size or layer.image_size or SIZE
            inputs = {"image": keras.Input((size, size, 3), name="image")}
        scale: Mode = "none" if layer.takes_bytes else "unit"
        output = layer(next(iter(inputs.values())))
        outputs = {"features": _pool(output, config), "map" if "image" in inputs else "sequence": output}
        model = keras.Model(inputs, outputs["features"], name=re.sub(r"\W+", "_", config.name).strip("_") or "hub")
        return Backbone(
            name=config.name,
            modality="image" if "image" in inputs else "text",
            model=model,
            outputs=outputs,
            preprocess=StringPreprocess() if layer.takes_strings else ImagePreprocess(size=(size, size), mode=scale),
            blocks=(Block("module", (layer,)),),
            weights=WeightsReport(handle, sha256_of_values([layer]), loaded=("module",)),
        )


def _on_one_device() -> None:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if replicas > 1:
        raise UserError(
            f"backbone: this module reads strings, which do not travel to the {replicas} devices in use; train it with "
            "distribute: cpu, or take a backbone that is given tokens (minilm, bert)"
        )


def _pool(output: Any, config: Config) -> Any:
    """[N, D] as it is; [N, h, w, C] or [N, L, C] averaged, or their maximum."""
    if config.pooling == "cls":
        raise UserError("pooling: a hub module gives no token of its own to take; avg, max or auto")
    rank = len(output.shape)
    if rank == 2:
        return output
    if rank not in (3, 4):
        raise UserError(
            f"weights: the module's output has shape {tuple(output.shape)}; [N, D], [N, L, C] or [N, h, w, C] is needed"
        )
    axes = tuple(range(1, rank - 1))
    return keras.ops.max(output, axes) if config.pooling == "max" else keras.ops.mean(output, axes)


def _resolve(handle: str, names: tuple[str, ...]) -> str:
    """The folder of the SavedModel `handle`, downloaded by tensorflow_hub where it is not one already."""
    if Path(handle, "saved_model.pb").is_file():
        return str(handle)
    if "://" not in handle:
        raise UserError(
            f"weights: {handle}: no saved_model.pb in it; a folder of a TF2 SavedModel or a TF Hub handle is needed"
        )
    try:
        import tensorflow_hub

        host = handle.split("/")[2]
        if handle.startswith("http") and not reachable(host):
            raise OSError(f"{host} cannot be reached")
        return str(tensorflow_hub.resolve(handle))
    except Exception as error:
        raise hub_error(handle, error, names) from error
