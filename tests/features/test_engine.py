"""The frozen part by TensorFlow and by OpenVINO: the same values, and a line that says why where it is not OpenVINO."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import tiny
from tfl import backbones
from tfl.config import UserError
from tfl.cut import Part, cut
from tfl.features import engine
from tfl.features.engine import Engine, make
from tfl.features.frontier import frontiers
from tfl.graphs import reordering

needs_openvino = pytest.mark.skipif(not engine.installed(), reason="needs openvino")
ENGINES = ("tensorflow", pytest.param("openvino", marks=needs_openvino))
RANDOM = np.random.default_rng(0)


def frozen(backbone: Any) -> tuple[Callable[[list[Any]], list[Any]], Part]:
    """The frozen part of a backbone of which nothing trains, as a function of tensors alone and as it is."""
    backbone.unfreeze("none")
    part = cut(keras.Model(backbone.inputs, backbone.outputs["features"])).frozen
    return lambda tensors: part(tensors, training=False), part


def images() -> list[Any]:
    return [tf.constant(RANDOM.random((32, tiny.SIZE, tiny.SIZE, 3), np.float32))]


def texts(rows: int, tokens: int, names: Sequence[str]) -> list[Any]:
    """Texts of a BERT that has 19 words, of 2 tokens and more."""
    mask = np.arange(tokens) < RANDOM.integers(2, tokens + 1, rows)[:, None]
    ids = np.where(mask, RANDOM.integers(5, 19, (rows, tokens)), 0)
    columns = {"padding_mask": mask, "token_ids": ids, "segment_ids": np.zeros_like(ids)}
    return [tf.constant(columns[name], tf.int32) for name in names]


def silent(line: str) -> None:
    raise AssertionError(f"said: {line}")


def taken(tensors: Sequence[Any], places: np.ndarray) -> list[Any]:
    return [tf.gather(tensor, places) for tensor in tensors]


def check_rows(run: Engine, tensors: list[Any]) -> None:
    """A row has the same bits wherever it stands and whatever stands beside it."""
    whole = run(tensors)
    count = len(whole[0])
    for places in (RANDOM.permutation(count), np.minimum(np.arange(count), 2), np.arange(count)[::-1]):
        for values, found in zip(whole, run(taken(tensors, places)), strict=True):
            np.testing.assert_array_equal(found, values[places])


@pytest.mark.parametrize("name", ENGINES)
def test_images(name: engine.Choice) -> None:
    function, part = frozen(tiny.backbone())
    example = images()
    run = make(function, example, name, silent, part.variables)
    assert run.name == name
    np.testing.assert_allclose(run(example)[0], function(example)[0], rtol=1e-4, atol=1e-6)
    check_rows(run, example)
    kept = run(example)[0]
    before = kept.copy()
    run(images())
    np.testing.assert_array_equal(kept, before, "a result is not overwritten by the next one")


@pytest.mark.parametrize("name", ENGINES)
def test_texts_of_any_length(name: engine.Choice, tiny_bert: Path) -> None:
    function, part = frozen(backbones.load("bert", weights=str(tiny_bert)))
    names = part.names
    run = make(function, texts(4, 8, names), name, silent, part.variables)
    assert run.name == name
    for rows, tokens in ((16, 8), (8, 16), (5, 24)):
        tensors = texts(rows, tokens, names)
        np.testing.assert_allclose(run(tensors)[0], function(tensors)[0], rtol=1e-4, atol=1e-5)
        check_rows(run, tensors)


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v2", "vgg16", "inception_v3"])
def test_rows_of_real_networks_depend_on_nothing_else(name: engine.Choice, backbone: str) -> None:
    function, part = frozen(backbones.load(backbone, weights="none", image_size=75))
    example = [tf.constant(RANDOM.uniform(-1, 1, (8, 75, 75, 3)), tf.float32)]
    check_rows(make(function, example, name, silent, part.variables), example)


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "efficientnet_b0", "densenet121"])
def test_small_weights_are_constants_and_values_stay_within_rounding(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, part = frozen(backbones.load(backbone, weights="none", image_size=75))
    example = [tf.constant(RANDOM.uniform(-1, 1, (8, 75, 75, 3)), tf.float32)]
    constant = make(function, example, "tensorflow", silent, part.variables)
    expected = constant(example)[0]
    check_rows(constant, example)
    monkeypatch.setattr(engine, "CONSTANT_BYTES", 0)
    read = make(function, example, "tensorflow", silent, part.variables)
    np.testing.assert_allclose(read(example)[0], expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    for variable in part.variables:
        variable.assign(variable + 0.5)
    np.testing.assert_array_equal(constant(example)[0], expected)
    assert np.abs(read(example)[0] - expected).max() > 0.01 * np.abs(expected).max(), "what is read is as it is now"


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
def test_in_two_steps_an_image_becomes_the_same_bits(backbone: str) -> None:
    """Some weights of ResNet50 are constants and some are not."""
    network = backbones.load(backbone, weights="none", image_size=64)
    network.unfreeze("none")
    top, *lower = frontiers(cut(keras.Model(network.inputs, network.outputs["features"])), network.blocks)
    example = [tf.constant(RANDOM.uniform(-1, 1, (8, 64, 64, 3)), tf.float32)]

    def values(part: Part, tensors: list[Any]) -> list[Any]:
        run = make(lambda given: part(given, training=False), tensors, "tensorflow", silent, part.variables)
        return [tf.constant(value) for value in run(tensors)]

    with reordering(False):
        expected = values(top.part, example)
        for frontier in (lower[0], lower[len(lower) // 2], lower[-1]):
            found = values(frontier.up_to(top), values(frontier.part, example))
            np.testing.assert_array_equal(found[0], expected[0], err_msg=frontier.name)


@needs_openvino
def test_several_inputs_and_outputs_keep_their_order() -> None:
    def function(tensors: list[Any]) -> list[Any]:
        first, second, third = tensors
        return [third - first, second * 2, first + 0.5]

    example = [tf.constant(RANDOM.random((4, 3, 2)), tf.float32) for _ in range(3)]
    run = make(function, example, "openvino", silent)
    assert run.name == "openvino"
    for value, expected in zip(run(example), function(example), strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-6)


# --- falling back -----------------------------------------------------------------------------------------------------


def fall_back(function: Callable[[list[Any]], list[Any]], example: Sequence[Any]) -> str:
    """The line that is said when TensorFlow computes in place of OpenVINO, which it does correctly."""
    said: list[str] = []
    run = make(function, example, "openvino", said.append)
    assert run.name == "tensorflow"
    for value, expected in zip(run(example), function(list(example)), strict=True):
        np.testing.assert_array_equal(value, expected)
    assert len(said) == 1
    assert "\n" not in said[0]
    return said[0]


def double(tensors: list[Any]) -> list[Any]:
    return [tensors[0] * 2]


@needs_openvino
def test_strings() -> None:
    assert "strings" in fall_back(lambda tensors: [tf.strings.length(tensors[0])], [tf.constant(["a", "bc"])])


@needs_openvino
def test_what_cannot_be_converted() -> None:
    def in_python(tensors: list[Any]) -> list[Any]:
        return [tf.ensure_shape(tf.numpy_function(lambda x: x + 1, tensors, tf.float32), [4, 3])]

    root = logging.getLogger()
    before = root.level, list(root.filters), list(root.handlers)
    assert "cannot convert" in fall_back(in_python, [tf.ones([4, 3])])
    assert (root.level, root.filters, root.handlers) == before, "what others warn of is heard as before"


@needs_openvino
def test_values_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    original = engine._openvino

    def wrong(*given: Any) -> Callable[[Sequence[Any]], list[np.ndarray]]:
        run = original(*given)
        return lambda tensors: [values * np.float32(1.001) for values in run(tensors)]

    monkeypatch.setattr(engine, "_openvino", wrong)
    assert "differ by 1.0e-03" in fall_back(double, [tf.ones([4, 3])])


def test_not_a_number_is_no_agreement() -> None:
    with pytest.raises(engine.Unfit, match="differ by nan"):
        engine._compare([np.ones(2, np.float32)], [np.array([1, np.nan], np.float32)])
    with pytest.raises(engine.Unfit, match=r"\[3\] in place of float32 \[2\]"):
        engine._compare([np.ones(2, np.float32)], [np.ones(3, np.float32)])


@needs_openvino
def test_a_precision_that_is_not_float32() -> None:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert "mixed_bfloat16" in fall_back(double, [tf.ones([4, 3])])
        assert engine.choose("auto") == "tensorflow"
    finally:
        keras.config.set_dtype_policy(policy)


@needs_openvino
def test_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: ["GPU:0"] if kind == "GPU" else [])
    assert "GPU" in fall_back(double, [tf.ones([4, 3])])
    assert engine.choose("auto") == "tensorflow"


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "installed", lambda: False)
    assert make(double, [tf.ones([4, 3])], "auto", silent).name == "tensorflow"
    with pytest.raises(UserError, match=r"pip install '\.\[openvino\]'"):
        make(double, [tf.ones([4, 3])], "openvino", silent)


@needs_openvino
def test_openvino_does_not_report_what_is_converted() -> None:
    code = (
        "import tensorflow as tf; from tfl.features import engine\n"
        "engine.make(lambda x: [x[0] * 2], [tf.ones([4, 3])], 'openvino', print)\n"
        "from openvino.tools.ovc import convert_impl; print(convert_impl.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub"]
