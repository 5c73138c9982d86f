"""KerasHub's text encoders: one contract over every family, on small presets made here, and the real MiniLM."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tfl.backbones import TextPreprocess, load, load_preprocess, register_layers
from tfl.config import UserError
from tfl.export import export
from tfl.models import build
from tfl.tasks.classification import Classification

TEXTS = ["the quick brown", "fox"]
WORDS = ["the", "quick", "brown", "fox", "jumped", "over", "lazy", "dog"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 24}
models = keras_hub.models


def sentence_piece(pieces: dict[str, int]) -> bytes:
    """A small SentencePiece vocabulary with the special tokens `pieces`."""
    import io

    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 3),
        model_writer=out,
        vocab_size=28,
        model_type="WORD",
        hard_vocab_limit=False,
        pad_id=pieces["pad"],
        unk_id=pieces["unk"],
        bos_id=pieces["bos"],
        eos_id=pieces["eos"],
        pad_piece="<pad>" if pieces.get("style") == "albert" else "[PAD]",
        unk_piece="<unk>" if pieces.get("style") == "albert" else "[UNK]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        user_defined_symbols="[MASK]",
    )
    return out.getvalue()


def bert() -> tuple[Any, Any]:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    return models.BertBackbone(vocabulary_size=len(vocabulary), **SIZES), models.BertTokenizer(vocabulary, lowercase=True)


def distilbert() -> tuple[Any, Any]:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    encoder = models.DistilBertBackbone(vocabulary_size=len(vocabulary), **SIZES)
    return encoder, models.DistilBertTokenizer(vocabulary, lowercase=True)


def electra() -> tuple[Any, Any]:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    encoder = models.ElectraBackbone(vocab_size=len(vocabulary), embedding_dim=8, **SIZES)
    return encoder, models.ElectraTokenizer(vocabulary, lowercase=True)


def roberta() -> tuple[Any, Any]:
    letters = sorted({letter for word in WORDS for letter in word})
    vocabulary = {
        piece: number for number, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", "Ġ", *letters, "Ġt", "he", "<mask>"])
    }
    return models.RobertaBackbone(vocabulary_size=len(vocabulary), **SIZES), models.RobertaTokenizer(vocabulary, ["Ġ t", "h e"])


def albert() -> tuple[Any, Any]:
    proto = sentence_piece({"pad": 0, "unk": 1, "bos": 2, "eos": 3, "style": "albert"})
    tokenizer = models.AlbertTokenizer(proto)
    encoder = models.AlbertBackbone(vocabulary_size=tokenizer.vocabulary_size(), embedding_dim=8, **SIZES)
    return encoder, tokenizer


def deberta() -> tuple[Any, Any]:
    tokenizer = models.DebertaV3Tokenizer(sentence_piece({"pad": 0, "bos": 1, "eos": 2, "unk": 3}))
    encoder = models.DebertaV3Backbone(vocabulary_size=tokenizer.vocabulary_size(), bucket_size=8, **SIZES)
    return encoder, tokenizer


FAMILIES: dict[str, Callable[[], tuple[Any, Any]]] = {
    "bert": bert,
    "distilbert": distilbert,
    "roberta": roberta,
    "albert": albert,
    "deberta_v3": deberta,
    "electra": electra,
}


@pytest.fixture(scope="module", params=FAMILIES)
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    keras.utils.set_random_seed(3)
    encoder, tokenizer = FAMILIES[request.param]()
    encoder.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return request.param, folder


def test_contract(preset: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = preset
    backbone = load(name, weights=str(folder))
    expected = ("embeddings", "group_0") if name == "albert" else ("embeddings", "layer_0", "layer_1")
    assert tuple(block.name for block in backbone.blocks) == expected
    assert backbone.trainable == expected
    owners = [layer.name for block in backbone.blocks for layer in block.layers if layer.weights]
    assert sorted(owners) == sorted(layer.name for layer in backbone.model.layers if layer.weights)
    assert "pooled_dense" not in owners
    assert backbone.weights.origin == str(folder)
    assert backbone.weights.sha256

    batch = backbone.preprocess(TEXTS)
    assert set(batch) == set(backbone.inputs)
    assert all(value.dtype == tf.int32 for value in batch.values())
    lengths = np.sum(batch["padding_mask"], axis=1)
    assert batch["token_ids"].shape == (2, max(lengths))
    assert lengths[1] < lengths[0]
    behind = np.asarray(batch["token_ids"])[1, lengths[1] :]
    assert set(behind) == {backbone.preprocess.pad_values["token_ids"]}
    assert backbone.preprocess.sequence_length <= 24
    assert backbone(batch).shape == (2, 16)

    room, pads = 24 - batch["token_ids"].shape[1], backbone.preprocess.pad_values
    longer = {key: tf.pad(value, [[0, 0], [0, room]], constant_values=pads[key]) for key, value in batch.items()}
    np.testing.assert_allclose(backbone(longer), backbone(batch), atol=1e-5)  # padding does not count

    pair = backbone.preprocess(TEXTS, ["over the lazy dog", "dog"])
    assert pair["token_ids"].shape[1] > batch["token_ids"].shape[1]

    backbone.preprocess.save(tmp_path / "text")
    again = load_preprocess(tmp_path / "text")
    assert isinstance(again, TextPreprocess)
    assert again.pad_values == backbone.preprocess.pad_values
    for key, value in again(TEXTS, TEXTS).items():
        np.testing.assert_array_equal(value, backbone.preprocess(TEXTS, TEXTS)[key])
    mapped = next(iter(tf.data.Dataset.from_tensors(TEXTS).map(again)))
    np.testing.assert_array_equal(mapped["token_ids"], batch["token_ids"])


def test_an_export_holds_the_tokeniser(preset: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = preset
    backbone = load(name, weights=str(folder))
    task = Classification(class_names=("a", "b"))
    model = build(backbone, {"tone": task})
    export(tmp_path, model, {"tone": task}, backbone.preprocess, modality="text", pairs=True, resize="crop")
    pairs = ["over the lazy dog", "dog"]
    loaded = tf.saved_model.load(str(tmp_path))
    answer = loaded.signatures["serving_default"](text=tf.constant(TEXTS), text_pair=tf.constant(pairs))
    expected = tf.nn.softmax(model(backbone.preprocess(TEXTS, pairs))["tone"])
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-6)


def test_what_trains(preset: tuple[str, Path]) -> None:
    name, folder = preset
    backbone = load(name, weights=str(folder), trainable=False)
    assert backbone.model.trainable_variables == []
    top = "group_0" if name == "albert" else "layer_1"
    backbone.trainable = top
    assert backbone.trainable == (top,)
    assert len(backbone.model.trainable_variables) == len(backbone.blocks[-1].layers[0].trainable_variables)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(backbone(backbone.preprocess(TEXTS)) ** 2)
    gradients = tape.gradient(loss, [v.value for v in backbone.model.trainable_variables])
    assert all(gradient is not None for gradient in gradients)

    backbone.trainable = {"lora": 2}
    layers = 1 if name == "albert" else 2
    assert len(backbone.model.trainable_variables) == layers * 4  # query and value, two matrices each
    assert all("lora" in v.path for v in backbone.model.trainable_variables)
    assert "embeddings" not in backbone.trainable
    with pytest.raises(UserError, match="differs from the rank 2"):
        backbone.trainable = {"lora": 3}
    backbone.trainable = True  # all: the matrices beside the adapters too
    assert all(v.trainable for v in backbone.model.weights)
    backbone.trainable = {"lora": 2}
    backbone.trainable = False
    assert backbone.model.trainable_variables == []
    assert backbone.trainable == ()
    backbone.trainable = True
    assert all(v.trainable for v in backbone.model.weights)


def test_pooling(preset: tuple[str, Path], tmp_path: Path) -> None:
    name, folder = preset
    pooled = {how: load(name, weights=str(folder), pooling=how) for how in ("mean", "cls", "max")}
    batch = pooled["mean"].preprocess(TEXTS)
    net = pooled["mean"]
    sequence = np.asarray(keras.Model(net.model.input, net.outputs["sequence"])(batch))
    mask = np.asarray(batch["padding_mask"])[..., None]
    expected = {
        "mean": (sequence * mask).sum(1) / mask.sum(1),
        "cls": sequence[:, 0],
        "max": np.where(mask == 1, sequence, -np.inf).max(1),
    }
    for how, backbone in pooled.items():
        np.testing.assert_allclose(backbone(batch), expected[how], atol=1e-5, err_msg=how)
        backbone.model.save(tmp_path / f"{how}.keras")
        register_layers()
        np.testing.assert_allclose(keras.models.load_model(tmp_path / f"{how}.keras")(batch), expected[how], atol=1e-5)
    automatic = load(name, weights=str(folder))
    said = "cls" if name in ("bert", "albert", "electra") else "mean"
    np.testing.assert_allclose(automatic(batch), expected[said], atol=1e-5)


def test_random_weights_and_a_file(tmp_path: Path) -> None:
    encoder, tokenizer = bert()
    encoder.save_to_preset(str(tmp_path))
    tokenizer.save_to_preset(str(tmp_path))
    trained = load(str(tmp_path))
    scratch = load(str(tmp_path), weights="none")
    assert scratch.weights.origin == "none (random)"
    assert not np.allclose(scratch.model.weights[0], trained.model.weights[0])
    from_file = load("bert", weights=str(tmp_path / "model.weights.h5"))
    np.testing.assert_array_equal(from_file.model.weights[0], trained.model.weights[0])
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match="weights of another network"):
        load("bert", weights=str(tmp_path / "other.weights.h5"))
    with pytest.raises(UserError, match="24 positions"):
        load(str(tmp_path), sequence_length=64)
    assert load(str(tmp_path), sequence_length=4).preprocess(TEXTS)["token_ids"].shape == (2, 4)


def test_hugging_face_folder(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(vocabulary), "num_hidden_layers": 1,
        "num_attention_heads": 2, "hidden_size": 8, "intermediate_size": 16, "hidden_dropout_prob": 0.1,
        "max_position_embeddings": 32, "type_vocab_size": 2,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary))
    layer = "encoder.layer.0."
    shapes = {
        "embeddings.word_embeddings.weight": (len(vocabulary), 8),
        "embeddings.position_embeddings.weight": (32, 8),
        "embeddings.token_type_embeddings.weight": (2, 8),
        "embeddings.LayerNorm.weight": (8,), "embeddings.LayerNorm.bias": (8,),
        **{f"{layer}attention.self.{part}.weight": (8, 8) for part in ("query", "key", "value")},
        **{f"{layer}attention.self.{part}.bias": (8,) for part in ("query", "key", "value")},
        f"{layer}attention.output.dense.weight": (8, 8), f"{layer}attention.output.dense.bias": (8,),
        f"{layer}attention.output.LayerNorm.weight": (8,), f"{layer}attention.output.LayerNorm.bias": (8,),
        f"{layer}intermediate.dense.weight": (16, 8), f"{layer}intermediate.dense.bias": (16,),
        f"{layer}output.dense.weight": (8, 16), f"{layer}output.dense.bias": (8,),
        f"{layer}output.LayerNorm.weight": (8,), f"{layer}output.LayerNorm.bias": (8,),
        "pooler.dense.weight": (8, 8), "pooler.dense.bias": (8,),
    }  # fmt: skip
    values = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    save_file(values, tmp_path / "model.safetensors")
    backbone = load(str(tmp_path))
    assert backbone.preprocess.sequence_length == 12
    assert backbone.weights.unused == ("pooled_dense",)
    np.testing.assert_array_equal(
        backbone.model.get_layer("token_embedding").embeddings, values["embeddings.word_embeddings.weight"]
    )
    save_file(
        {"embeddings.word_embeddings.weight": values["embeddings.word_embeddings.weight"]},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(UserError, match="not the files of a text encoder"):
        load(str(tmp_path))


def test_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="it has no config"):
        load("bert", weights=str(tmp_path))
    with pytest.raises(UserError, match="imagenet is for images"):
        load("bert", weights="imagenet")
    monkeypatch.setattr("tfl.backbones.kerashub.reachable", lambda host: False)
    with pytest.raises(UserError, match=r"(?s)huggingface.co cannot be reached.*hf download nobody/nothing --local-dir"):
        load("hf://nobody/nothing")
