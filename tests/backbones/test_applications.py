"""Every `keras.applications` backbone of the table: structure, blocks, preprocessing, what trains."""

from __future__ import annotations

import gc
import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfl import backbones
from tfl.backbones import BACKBONES, Backbone, load
from tfl.backbones.applications import MODES, Application, ImagePreprocess
from tfl.backbones.blocks import by_name
from tfl.backbones.sources import published
from tfl.config import UserError
from tfl.phases import Last

APPLICATIONS = {name: line for name, line in BACKBONES.items() if isinstance(line, Application)}


def test_the_table_has_every_application() -> None:
    known = {name for name in dir(keras.applications) if name[0].isupper()}
    assert known == {line.constructor for line in APPLICATIONS.values()}


@pytest.mark.parametrize("name", APPLICATIONS)
def test_contract(name: str) -> None:
    line = APPLICATIONS[name]
    with keras.StatelessScope():  # a network without its variables: the large ones would take gigabytes and minutes
        network = line.build(line.size, name)
    blocks = by_name(network, line.blocks)

    owners = [layer.name for block in blocks for layer in block.layers]
    assert len(owners) == len(set(owners))
    assert set(owners) >= {layer.name for layer in network.layers if layer.weights}
    assert 3 <= len(blocks) <= 25
    assert len({block.name for block in blocks}) == len(blocks)
    assert all(any(layer.weights for layer in block.layers) for block in blocks)
    place = {layer.name: number for number, block in enumerate(blocks) for layer in block.layers}
    for layer in network.layers:  # nothing in a block depends on a block above it
        for node in layer._inbound_nodes:
            for parent in node.parent_nodes:
                assert place.get(parent.operation.name, 0) <= place.get(layer.name, 0)

    assert network.output.shape[-1] >= 256
    with keras.StatelessScope():
        published_size = getattr(keras.applications, line.constructor)(weights=None, **line.kwargs).input_shape[1]
    assert published_size in (line.size, None)  # MobileNetV3, like ConvNeXt without top, leaves its size open
    del network
    gc.collect()


@pytest.mark.parametrize("module", sorted(MODES))
def test_preprocessing_is_that_of_keras(module: str) -> None:
    ours = ImagePreprocess(size=(2, 2), mode=MODES[module])
    theirs = importlib.import_module(f"keras.applications.{module}").preprocess_input
    images = np.array([[[[255, 0, 10], [1, 2, 3]], [[0, 128, 255], [7, 7, 7]]]], dtype=np.uint8)
    expected = np.asarray(theirs(images.astype("float32").copy()))
    np.testing.assert_allclose(ours(images), expected, rtol=1e-6, atol=1e-6)
    mapped = tf.data.Dataset.from_tensors(images).map(ours)
    np.testing.assert_array_equal(next(iter(mapped)), ours(images))


def test_preprocessing_of_a_known_pixel() -> None:
    pixel = np.array([[[[255, 127.5, 0]]]], dtype="float32")
    np.testing.assert_allclose(ImagePreprocess(size=(1, 1), mode="tf")(pixel)[0, 0, 0], [1, 0, -1])
    bgr = [0 - 103.939, 127.5 - 116.779, 255 - 123.68]
    np.testing.assert_allclose(ImagePreprocess(size=(1, 1), mode="caffe")(pixel)[0, 0, 0], bgr, rtol=1e-6)
    torch = [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    np.testing.assert_allclose(ImagePreprocess(size=(1, 1), mode="torch")(pixel)[0, 0, 0], torch, rtol=1e-5)


def small(name: str, **kwargs: object) -> Backbone:
    return load(name, weights="none", image_size=75 if name == "inception_v3" else 32, **kwargs)


def moving(backbone: Backbone) -> set[str]:
    return {layer.name for block in backbone.blocks for layer in block.layers if layer.trainable_variables}


def test_vgg16() -> None:
    vgg = small("vgg16", trainable="block5")
    assert [block.name for block in vgg.blocks] == ["block1", "block2", "block3", "block4", "block5"]
    assert [layer.name for layer in vgg.blocks[0].layers] == ["block1_conv1", "block1_conv2", "block1_pool"]
    assert vgg.blocks[-1].layers[-1].name == "block5_pool"
    assert vgg.preprocess == ImagePreprocess(size=(32, 32), mode="caffe")
    assert vgg.trainable == ("block5",)
    assert moving(vgg) == {"block5_conv1", "block5_conv2", "block5_conv3"}
    assert len(vgg.model.trainable_variables) == 6
    assert vgg(np.zeros((2, 32, 32, 3))).shape == (2, 512)
    assert vgg.outputs["map"].shape == (None, 1, 1, 512)


def test_resnet50() -> None:
    net = small("resnet50", trainable=False)
    assert [block.name for block in net.blocks] == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert net.blocks[0].layers[-1].name == "conv1_relu"
    assert net.blocks[3].layers[-1].name == "conv4_block6_out"
    assert net.blocks[4].layers[-1].name == "conv5_block3_out"
    assert net.trainable == ()
    assert net.model.trainable_variables == []
    net.trainable = "conv5"
    assert net.trainable == ("conv5",)
    assert all("_conv" in name for name in moving(net))  # BatchNorm stays frozen
    net.unfreeze("conv5", batch_norm="train")
    assert "conv5_block1_1_bn" in moving(net)
    assert "conv4_block6_3_bn" not in moving(net)


def test_inception_v3() -> None:
    net = small("inception_v3", trainable={"last": 2})
    assert [block.name for block in net.blocks] == [f"mixed{number}" for number in range(11)]
    assert [block.layers[-1].name for block in net.blocks] == [f"mixed{number}" for number in range(11)]
    assert net.trainable == ("mixed9", "mixed10")
    again = small("inception_v3")  # a second network in one process has the same names
    assert [layer.name for layer in again.model.layers] == [layer.name for layer in net.model.layers]


def test_shortcuts_belong_to_the_block_that_they_bridge() -> None:
    with keras.StatelessScope():
        network = APPLICATIONS["xception"].build(71, "xception")
    blocks = {block.name: [layer.name for layer in block.layers] for block in by_name(network, backbones.BLOCK)}
    assert blocks["block2"][-1] == "add"
    assert "conv2d" in blocks["block2"]
    assert "batch_normalization" in blocks["block2"]


def test_selection() -> None:
    net = small("resnet50")
    assert net.trainable == ("conv1", "conv2", "conv3", "conv4", "conv5")
    net.trainable = "conv[34]"
    assert net.trainable == ("conv3", "conv4", "conv5")
    net.trainable = Last(last=1)
    assert net.trainable == ("conv5",)
    net.trainable = "conv5_block3"
    assert moving(net) == {"conv5_block3_1_conv", "conv5_block3_2_conv", "conv5_block3_3_conv"}
    net.trainable = "conv5_block1_1_conv"  # the shortcut beside it does not lie below it
    assert "conv5_block1_0_conv" in moving(net)
    assert not any(name.startswith("conv4") for name in moving(net))
    with pytest.raises(UserError, match=r"did you mean 'conv5'\?\); resnet50 has 5 blocks.*conv1, conv2, conv3, conv4, conv5"):
        net.trainable = "convv5"
    with pytest.raises(UserError, match="too many; resnet50 has 5 blocks"):
        net.trainable = {"last": 6}
    with pytest.raises(UserError, match="no attention layer"):
        net.trainable = {"lora": 4}


def test_nested_layers_follow() -> None:
    with keras.StatelessScope():
        line = APPLICATIONS["convnext_tiny"]
        network = line.build(64, "convnext_tiny")
        blocks = by_name(network, line.blocks)
        model = keras.Model({"image": network.inputs[0]}, network.output)
        net = Backbone(
            name="convnext_tiny",
            modality="image",
            model=model,
            outputs={},
            preprocess=None,
            blocks=blocks,
            weights=backbones.WeightsReport("none"),
        )
        assert [block.name for block in blocks] == ["stem", "stage_0", "stage_1", "stage_2", "stage_3"]
        net.trainable = "stage_3"
        names = {variable.path for variable in net.model.trainable_variables}
        assert any("downsampling_block_2" in name for name in names)
        assert not any("downsampling_block_1" in name or "stage_2_" in name for name in names)


def test_random_weights_come_from_the_seed() -> None:
    def first() -> np.ndarray:
        keras.utils.set_random_seed(7)
        return small("mobilenet_0.25").model.weights[0].numpy()

    np.testing.assert_array_equal(first(), first())


def test_pooling_and_size() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    net = load("mobilenet_0.25", weights="none", image_size=64, pooling="max")
    unpooled = keras.Model(net.model.inputs, net.outputs["map"])(image)
    np.testing.assert_allclose(net(image), np.max(unpooled, axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(net({"image": image, "label": 0, "index": 1}), net(image))
    with pytest.raises(UserError, match="for texts"):
        load("mobilenet_0.25", weights="none", image_size=64, pooling="cls")
    with pytest.raises(UserError, match="image_size: 32 does not do for inception_v3"):
        load("inception_v3", weights="none", image_size=32)


def test_published_file() -> None:
    file = published(keras.applications.ResNet50, input_shape=(224, 224, 3))
    assert file.file == "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert file.hash == "4d473c1dd8becc155b73f8504c6f6626"
    with pytest.raises(UserError, match="there are none of ImageNet"):
        published(keras.applications.MobileNet, input_shape=(224, 224, 3), alpha=0.3)


def test_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("tfl.backbones.sources.reachable", lambda host: False)
    with pytest.raises(UserError) as raised:
        load("mobilenet_v3_small")
    said = str(raised.value)
    assert "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5, about 4 MB, md5 d3e8ec802a04aa4fc771ee12a9a9b836" in said
    assert f"{tmp_path}/models/weights_mobilenet_v3_small" in said
    assert "without network these work" in said


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch", "unit", "none"])
def test_preprocessing_has_the_same_bits_in_a_saved_model(mode: Any, tmp_path: Path) -> None:
    preprocess = ImagePreprocess(size=(8, 8), mode=mode)
    pixels = tf.random.stateless_uniform([4, 8, 8, 3], [1, 2], 0.0, 255.0)
    module = tf.Module()
    module.serve = tf.function(preprocess.__call__, [tf.TensorSpec([None, 8, 8, 3])])
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.serve})
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](images=pixels)
    np.testing.assert_array_equal(next(iter(served.values())), preprocess(pixels))
