"""Weight files of both forms, with and without top, checked by coverage and by what the network then computes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from tests.assets import asset
from tfl.backbones import load
from tfl.backbones.sources import Published, fetch
from tfl.config import UserError

SHAPE = (64, 64, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, *SHAPE)).astype("float32")


def write_legacy(model: keras.Model, path: Path) -> None:
    """The form in which keras.applications publishes its weights: a group a layer, in order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            group.attrs["weight_names"] = [f"{layer.name}/{v.name}:0".encode() for v in weights]
            for v in weights:
                group[f"{layer.name}/{v.name}:0"] = v.numpy()


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("form", [".weights.h5", ".h5", ".keras"])
def test_forms(form: str, top: bool, tmp_path: Path, images: np.ndarray) -> None:
    keras.utils.set_random_seed(1)
    model = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=top, input_shape=SHAPE)
    path = tmp_path / f"mine{form}"
    if form == ".weights.h5":
        model.save_weights(path)
    elif form == ".keras":
        model.save(path)
    else:
        write_legacy(model, path)
    backbone = load("mobilenet_0.25", weights=str(path), image_size=64)
    features = keras.Model(model.input, model.get_layer("conv_pw_13_relu").output)(images)
    np.testing.assert_allclose(backbone(images), np.mean(features, axis=(1, 2)), rtol=1e-5, atol=1e-6)
    assert backbone.weights.missing == ()
    assert backbone.weights.unused == (("conv_preds",) if top else ())
    assert set(backbone.weights.loaded) == {layer.name for layer in backbone.model.layers if layer.weights}
    assert backbone.weights.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_nested_in_a_model_of_ones_own(tmp_path: Path, images: np.ndarray) -> None:
    inner = keras.applications.MobileNet(alpha=0.25, weights=None, include_top=False, input_shape=SHAPE, pooling="avg")
    model = keras.Sequential([keras.Input(SHAPE), inner, keras.layers.Dense(3)])
    model.save_weights(tmp_path / "mine.weights.h5")
    backbone = load("mobilenet_0.25", weights=str(tmp_path / "mine.weights.h5"), image_size=64)
    np.testing.assert_allclose(backbone(images), inner(images), rtol=1e-5, atol=1e-6)


def test_layers_of_layers(tmp_path: Path) -> None:
    from tfl.backbones.weights import load_file

    make = keras.applications.ConvNeXtTiny
    first, second = (make(weights=None, include_top=top, input_shape=SHAPE) for top in (True, False))
    first.save_weights(tmp_path / "mine.weights.h5")
    report = load_file(second, tmp_path / "mine.weights.h5", "convnext_tiny")
    assert "convnext_tiny_downsampling_block_0" in report.loaded
    for mine, theirs in zip(second.weights, first.weights[: len(second.weights)], strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_a_damaged_keras_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "net.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(64)]).save(file)
    content = bytearray(file.read_bytes())
    content[content.index(b"model.weights.h5") + 4000] ^= 255
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"net.keras: not a readable weight file"):
        load("mobilenet_0.25", weights=str(file), image_size=32)


def test_efficientnet_computes_what_keras_does_with_its_published_weights(tmp_path: Path) -> None:
    """Keras puts a Rescaling more into the network where it loads ImageNet weights itself."""
    plain = keras.applications.EfficientNetB0(weights=None, include_top=False, input_shape=SHAPE)
    layer = plain.layers[2]
    assert isinstance(layer, keras.layers.Normalization)
    layer.adapt_mean.assign([0.485, 0.456, 0.406])
    layer.adapt_variance.assign([0.229, 0.224, 0.225])
    layer.finalize_state()
    write_legacy(plain, tmp_path / "published.h5")
    backbone = load("efficientnet_b0", weights=str(tmp_path / "published.h5"), image_size=64)
    image = np.full((1, *SHAPE), 200.0, "float32")
    got = keras.Model(backbone.model.inputs, backbone.model.get_layer("normalization").output)(image)[0, 0, 0]
    expected = (200 / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    backbone.model.save_weights(tmp_path / "again.weights.h5")  # what tfl itself wrote is not scaled twice
    again = load("efficientnet_b0", weights=str(tmp_path / "again.weights.h5"), image_size=64)
    np.testing.assert_allclose(again(image), backbone(image), rtol=1e-5, atol=1e-6)


def test_weights_of_another_network(tmp_path: Path) -> None:
    model = keras.applications.MobileNet(alpha=0.25, weights=None, input_shape=SHAPE)
    path = tmp_path / "mine.weights.h5"
    model.save_weights(path)
    with pytest.raises(UserError) as raised:
        load("vgg16", weights=str(path), image_size=32)
    said = str(raised.value)
    assert "block1_conv1" in said
    assert "(3, 3, 3, 64)" in said
    assert "(3, 3, 3, 8)" in said
    assert "0 of 13 layers fit" in said
    assert "of mobilenet;" in said
    with pytest.raises(UserError, match=r"another network.*\(3, 3, 3, 16\)"):
        load("mobilenet_0.5", weights=str(path), image_size=64)


def test_a_deeper_network_of_the_same_beginning(tmp_path: Path) -> None:
    """All the layers asked for fit, and whole convolutions are left over: not the network that was asked for."""
    from tfl.backbones.weights import load_file

    def chain(depth: int) -> keras.Model:
        return keras.Sequential([keras.Input((8, 8, 3)), *(keras.layers.Conv2D(3, 3, padding="same") for _ in range(depth))])

    chain(3).save_weights(tmp_path / "deep.weights.h5")
    with pytest.raises(UserError, match="convolutions that the network has not"):
        load_file(chain(2), tmp_path / "deep.weights.h5", "chain")


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "broken.weights.h5").write_bytes(b"not HDF5 at all")
    with pytest.raises(UserError, match="not a readable weight file"):
        load("vgg16", weights=str(tmp_path / "broken.weights.h5"), image_size=32)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(UserError, match="it holds no layers"):
        load("vgg16", weights=str(tmp_path / "empty.h5"), image_size=32)


def test_a_file_put_into_the_cache_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    file = tmp_path / "models" / "net_notop.h5"
    file.write_bytes(b"weights")
    md5 = hashlib.md5(b"weights").hexdigest()
    assert fetch(Published("net_notop.h5", "https://example.org/net", md5), "net", 1, []) == file
    with pytest.raises(UserError, match="not the file that Keras publishes"):
        fetch(Published("net_notop.h5", "https://example.org/net", "0" * 32), "net", 1, [])
    assert file.exists()  # Keras would delete it


def test_real_weights_with_top_give_the_features_of_the_full_model() -> None:
    path = asset("weights/mobilenet_v2_1.0_224_imagenet.weights.h5")
    backbone = load("mobilenet_v2", weights=str(path))
    assert backbone.weights.unused == ("predictions",)
    full = keras.applications.MobileNetV2(weights=None, input_shape=(224, 224, 3), classifier_activation=None)
    full.load_weights(path)
    images = np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype("float32")
    expected = keras.Model(full.input, full.layers[-2].output)(images / 127.5 - 1)
    np.testing.assert_allclose(backbone(backbone.preprocess(images)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_0.25", "mobilenet_0.25_224_imagenet"),
        ("mobilenet_0.5", "mobilenet_0.5_224_imagenet_notop"),
        ("mobilenet_v2_0.35", "mobilenet_v2_0.35_224_imagenet_notop"),
    ],
)
def test_real_weights(name: str, file: str) -> None:
    backbone = load(name, weights=str(asset(f"weights/{file}.weights.h5")))
    assert backbone.weights.missing == ()
    assert backbone.weights.loaded
