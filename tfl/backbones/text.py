"""From strings to the token arrays that a text backbone takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tfl.backbones.config import PREPROCESS
from tfl.config import UserError
from tfl.lazy import keras, keras_hub, tf

VOCABULARY = "vocabulary"


class TextPreprocess:
    """Tokenises and packs texts as a KerasHub backbone was trained on.

    `layer` is KerasHub's preprocessor; a SavedModel that calls this object must hold `layer`, which owns the
    vocabulary.
    """

    def __init__(self, layer: Any, inputs: tuple[str, ...]) -> None:
        self.layer = layer
        self.inputs = inputs
        self._in_graph: dict[int, Any] = {}  # traced once for single texts, once for pairs

    @classmethod
    def of(cls, preset: str, encoder: Any, sequence_length: int | None, at_most: int) -> TextPreprocess:
        """The preprocessor of `encoder`, whose files are those of `preset`.

        `sequence_length` None: what the files say, no more than `at_most`. Raises `UserError` where the encoder has
        fewer positions.
        """
        models = keras_hub.models
        if isinstance(
            encoder, models.ElectraBackbone
        ):  # KerasHub has no classifier, so no preprocessor, for ELECTRA; it packs as BERT
            layer = models.BertTextClassifierPreprocessor(models.ElectraTokenizer.from_preset(preset))
        else:
            layer = models.TextClassifierPreprocessor.from_preset(preset)
        positions = getattr(encoder, "max_sequence_length", None) or 512
        if sequence_length is not None and sequence_length > positions:
            raise UserError(f"sequence_length: {sequence_length} is too long; this backbone has {positions} positions")
        layer.sequence_length = sequence_length or min(layer.sequence_length, positions, at_most)
        return cls(layer, tuple(sorted(encoder.input)))

    @property
    def sequence_length(self) -> int:
        """Tokens, at most, special ones included; longer texts are cut."""
        return int(self.layer.sequence_length)

    @property
    def pad_values(self) -> dict[str, int]:
        """What stands behind the end of a text, for each input."""
        return {name: int(self.layer.tokenizer.pad_token_id) if name == "token_ids" else 0 for name in self.inputs}

    def __call__(self, text: Any, text_pair: Any = None) -> dict[str, Any]:
        """`text`: [N] string, and so `text_pair`, packed behind it; gives a dict of [N, L] int32, L the longest of the
        batch.

        Works eagerly, in `tf.data` and in a SavedModel.
        """
        texts = (tf.convert_to_tensor(text),) if text_pair is None else tuple(map(tf.convert_to_tensor, (text, text_pair)))
        # eagerly KerasHub takes another tokeniser, written in Python; what is trained on is what a SavedModel computes
        if not tf.executing_eagerly():
            return self._pack(*texts)
        if len(texts) not in self._in_graph:
            self._in_graph[len(texts)] = tf.function(self._pack, [tf.TensorSpec([None], tf.string)] * len(texts))
        return self._in_graph[len(texts)](*texts)

    def _pack(self, *texts: Any) -> dict[str, Any]:
        packed = self.layer(texts, y=None)  # without `y`, a pair would be taken for inputs and labels
        used = tf.cast(packed["padding_mask"], tf.int32)
        longest = tf.reduce_max(tf.reduce_sum(used, axis=-1))  # padding is behind the text in all of these families
        return {name: tf.cast(packed[name], tf.int32)[:, :longest] for name in self.inputs}

    def save(self, folder: str | Path) -> None:
        """Writes all that `load` needs, vocabulary included, so that no hub is needed again."""
        place = Path(folder)
        (place / VOCABULARY).mkdir(parents=True, exist_ok=True)
        described = {
            "kind": "text",
            "inputs": list(self.inputs),
            "layer": keras.saving.serialize_keras_object(self.layer),
        }
        (place / PREPROCESS).write_text(json.dumps(described, indent=1), encoding="utf-8")
        self.layer.tokenizer.save_assets(str(place / VOCABULARY))

    @classmethod
    def load(cls, folder: str | Path) -> TextPreprocess:
        """What `save` wrote."""
        file = Path(folder) / PREPROCESS
        if not file.is_file():
            raise UserError(f"{folder}: no {PREPROCESS}; it is not the folder of a saved text preprocessing")
        keras_hub.models  # noqa: B018  registers the classes that the file names
        described = json.loads(file.read_text(encoding="utf-8"))
        layer = keras.saving.deserialize_keras_object(described["layer"])
        layer.tokenizer.load_assets(str(Path(folder) / VOCABULARY))
        return cls(layer, tuple(described["inputs"]))
