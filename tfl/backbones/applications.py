"""The networks of `keras.applications` as backbones: preprocessing, natural size, blocks, weights."""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tfl.backbones.backbone import Backbone
from tfl.backbones.blocks import by_name
from tfl.backbones.config import PREPROCESS, Config
from tfl.backbones.sources import fetch, package_folder, published
from tfl.backbones.weights import StoredFile, WeightsReport, load_file
from tfl.config import UserError
from tfl.lazy import keras, tf

Mode = Literal["caffe", "tf", "torch", "none", "unit"]

MODES: dict[str, Mode] = {
    "vgg16": "caffe",
    "vgg19": "caffe",
    "resnet": "caffe",
    "resnet_v2": "tf",
    "inception_v3": "tf",
    "inception_resnet_v2": "tf",
    "xception": "tf",
    "mobilenet": "tf",
    "mobilenet_v2": "tf",
    "mobilenet_v3": "none",
    "nasnet": "tf",
    "densenet": "torch",
    "efficientnet": "none",
    "efficientnet_v2": "none",
    "convnext": "none",
}
"""What `preprocess_input` of each module of `keras.applications` does; with none, the network itself begins with it."""

IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class ImagePreprocess:
    """From pixels to what the weights of a backbone expect."""

    size: tuple[int, int]
    """Height and width of the images that the backbone takes."""
    mode: Mode
    """caffe: BGR, ImageNet mean subtracted; tf: -1 to 1; torch: 0 to 1, normalised by channel; unit: 0 to 1; none: 0 to
    255.
    """

    def __call__(self, images: Any) -> Any:
        """`images`: [N, h, w, 3], RGB in 0 to 255, any dtype; gives float32. Works eagerly, in `tf.data` and in a
        SavedModel.
        """
        # TensorFlow turns `/` by a constant into a product in a SavedModel, and not in `tf.data`: another last bit, which a
        # deep network makes 1e-4 of. This division stays one.
        divide = tf.math.divide_no_nan
        x = tf.cast(images, tf.float32)
        if self.mode == "caffe":
            return x[..., ::-1] - tf.constant([103.939, 116.779, 123.68])
        if self.mode == "tf":
            return divide(x, 127.5) - 1.0
        if self.mode == "torch":
            return divide(divide(x, 255.0) - tf.constant([0.485, 0.456, 0.406]), tf.constant(IMAGENET_STD))
        return divide(x, 255.0) if self.mode == "unit" else x

    def save(self, folder: str | Path) -> None:
        """Writes what `tfl.backbones.load_preprocess` reads."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        described = {"kind": "image", "size": list(self.size), "mode": self.mode}
        Path(folder, PREPROCESS).write_text(json.dumps(described), encoding="utf-8")


@dataclass(frozen=True)
class Application:
    """One network of `keras.applications`: a line of the table."""

    module: str
    """Its module in `keras.applications`, which decides the preprocessing."""
    constructor: str
    """Its function in `keras.applications`."""
    size: int
    """Pixels, of both sides of the square images that its weights were trained on."""
    blocks: str
    """Regular expression whose one group is the block that a layer's name belongs to."""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    """More arguments of the constructor, such as the width `alpha`."""
    modality = "image"

    @property
    def summary(self) -> str:
        """One line for `tfl list backbones`."""
        more = "".join(f", {key} {value}" for key, value in self.kwargs.items())
        return f"keras.applications.{self.constructor}{more}, {self.size} px"

    def build(self, size: int, name: str) -> keras.Model:
        """The network without top and with random weights, for images of `size`² pixels. Its layers' names are always
        the same.
        """
        with own_names():
            image = keras.Input((size, size, 3), name="image")
            try:
                return getattr(keras.applications, self.constructor)(
                    include_top=False, weights=None, input_tensor=image, input_shape=(size, size, 3), **self.kwargs
                )
            except ValueError as error:
                natural = f"its natural size is {self.size}"
                raise UserError(f"image_size: {size} does not do for {name}: {error}; {natural}") from error

    def load(self, config: Config, names: tuple[str, ...] = ()) -> Backbone:
        """The backbone that `config` asks for; `names`, those of the table, are for errors."""
        size = config.image_size or self.size
        network = self.build(size, config.name)
        report = self._weights(network, config, size, names)
        features = self._pool(config)(network.output)
        model = keras.Model({"image": network.inputs[0]}, features, name=config.name.replace(".", "_"))
        return Backbone(
            name=config.name,
            modality="image",
            model=model,
            outputs={"features": features, "map": network.output},
            preprocess=ImagePreprocess(size=(size, size), mode=MODES[self.module]),
            blocks=by_name(network, self.blocks),
            weights=report,
        )

    def _pool(self, config: Config) -> keras.layers.Layer:
        if config.pooling in ("auto", "avg", "mean"):
            return keras.layers.GlobalAveragePooling2D(name="features")
        if config.pooling == "max":
            return keras.layers.GlobalMaxPooling2D(name="features")
        raise UserError(f"pooling: {config.pooling!r} is for texts; an image backbone has avg or max")

    def _weights(self, network: keras.Model, config: Config, size: int, names: tuple[str, ...]) -> WeightsReport:
        if config.weights == "none":
            return WeightsReport("none (random)", missing=tuple(layer.name for layer in network.layers if layer.weights))
        path, origin = config.weights, config.weights
        if "://" in config.weights:
            if not config.weights.startswith("package://"):
                raise UserError(f"weights: {config.weights}: {config.name} takes a weight file, imagenet or none, no handle")
            path = str(package_folder(config.weights))
        elif config.weights in ("pretrained", "imagenet"):
            constructor = getattr(keras.applications, self.constructor)
            file = published(constructor, input_shape=(size, size, 3), **self.kwargs)
            path = str(fetch(file, config.name, network.count_params() * 4 / 1e6, names))
            origin = f"imagenet: {file.file}"

        def finish(stored: StoredFile) -> None:
            if self.module == "efficientnet" and (stored.legacy or "rescaling_1" in stored.layers):
                _fold_rescaling(network)

        report = load_file(network, path, config.name, finish)
        return WeightsReport(origin, report.sha256, report.loaded, report.missing, report.unused)


def _fold_rescaling(network: keras.Model) -> None:
    """Makes EfficientNet's normalisation right for the published weights.

    Keras puts one more Rescaling, by 1 / sqrt(std), behind it, but only where it loads the weights itself; multiplied
    into the variance it is the same function, and the network has the same layers whatever its weights.
    """
    layer = network.get_layer("normalization")
    layer.adapt_variance.assign(layer.adapt_variance * keras.ops.convert_to_tensor(IMAGENET_STD))
    layer.finalize_state()


@contextmanager
def own_names() -> Iterator[None]:
    """Layers made in this scope are numbered from the start, so that `conv2d_8` of InceptionV3 is always the same
    layer.

    Keras numbers through the process: patterns, and names in a report, would mean another layer in the second model.
    """
    from keras.src.backend.common import global_state

    key = "object_name_uids"
    before = global_state.get_global_attribute(key) or {}
    global_state.set_global_attribute(key, collections.defaultdict(int))
    try:
        yield
    finally:
        counts = global_state.get_global_attribute(key) or collections.defaultdict(int)
        for name, number in before.items():
            counts[name] = max(counts[name], number)
        global_state.set_global_attribute(key, counts)
