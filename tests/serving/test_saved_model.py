"""What a SavedModel is made of: weights that are written once, those of small convolutional networks as constants."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tfl.export
from tests.serving.pictures import PICTURES
from tfl.export import export
from tfl.graphs import in_bytes


def saved(run: Any, folder: Path) -> Path:
    """The SavedModel of `run`, not certified."""
    facts = run.facts
    common = {"modality": facts.modality, "pairs": facts.pairs, "resize": facts.resize}
    export(folder, run.model, facts.tasks, run.preprocess, **common)
    return folder


def kernels(variables: Any) -> int:
    """How many of `variables` are kernels of convolutions."""
    return sum(len(one.shape) == 4 for one in variables)


def constants(folder: Path) -> int:
    """Bytes of the constants of more than 16 numbers in the graphs of a SavedModel."""
    held = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    nodes = [node for graph in held.meta_graphs for function in graph.graph_def.library.function for node in function.node_def]
    tensors = [node.attr["value"].tensor for node in nodes if node.op == "Const" and node.attr["dtype"].type != tf.string]
    return sum(len(one.tensor_content) for one in tensors if len(one.tensor_content) > 64)


def answers(folder: Path, **inputs: Any) -> np.ndarray:
    """The probabilities that `serving_default` gives."""
    found: np.ndarray = tf.saved_model.load(str(folder)).signatures["serving_default"](**inputs)["probabilities"].numpy()
    return found


@pytest.mark.parametrize("which", ["image_run", "text_run"])
def test_every_weight_is_written_once(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    run = request.getfixturevalue(which)
    folder = saved(run, tmp_path / "model")
    weights = sum(in_bytes(one) for one in run.model.variables)
    values = tf.train.load_checkpoint(str(folder / "variables" / "variables")).get_variable_to_shape_map()
    variables = 4 * sum(math.prod(shape) for shape in values.values())
    # The head's classes, and numbers such as the mean of a normalisation, are constants too.
    assert variables + constants(folder) < 1.1 * weights


@pytest.mark.parametrize("signature", ["serving_default", "predict_tensors", "features"])
def test_kernels_of_a_small_network_are_constants(signature: str, image_run: Any, tmp_path: Path) -> None:
    loaded = tf.saved_model.load(str(saved(image_run, tmp_path / "model")))
    assert kernels(image_run.model.variables) > 10
    assert kernels(loaded.signatures[signature].variables) == 0


def test_kernels_of_a_large_one_stay_variables(image_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the answers are the same."""
    images = tf.constant([PICTURES["PNG RGB"], PICTURES["JPEG RGB"]])
    expected = answers(saved(image_run, tmp_path / "small"), images=images)
    monkeypatch.setattr(tfl.export, "CONSTANT_BYTES", 1000)
    folder = saved(image_run, tmp_path / "large")
    loaded = tf.saved_model.load(str(folder))
    assert kernels(loaded.signatures["serving_default"].variables) == kernels(image_run.model.variables)
    np.testing.assert_allclose(answers(folder, images=images), expected, rtol=1e-5, atol=1e-6)
