"""What can be said of backbones without TensorFlow: the table, names, presets, early errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tfl import backbones
from tfl.backbones import BACKBONES, Config, check, entry, presets
from tfl.backbones.sources import offline, package_folder
from tfl.config import UserError


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tfl.backbones import BACKBONES, presets; "
        "[e.summary for e in BACKBONES.values()]; presets(); "
        "print([m for m in ('tensorflow', 'keras', 'keras_hub', 'pydantic', 'sklearn', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_presets_are_those_of_keras_hub() -> None:
    found = presets()
    assert "bert_tiny_en_uncased" in found
    assert "2-layer" in found["bert_tiny_en_uncased"]
    assert {"distil_bert_base_en", "roberta_base_en", "albert_base_en_uncased", "deberta_v3_base_en"} <= set(found)
    for name, line in BACKBONES.items():
        if isinstance(line, backbones.kerashub.Text) and name != "minilm":
            assert line.sources[-1] in found, name


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("ResNet50", "resnet50"),
        ("resnet50v2", "resnet50_v2"),
        ("inceptionv3", "inception_v3"),
        ("mobilenetv2", "mobilenet_v2"),
        ("EfficientNetV2B0", "efficientnet_v2_b0"),
        ("distil-bert", "distilbert"),
    ],
)
def test_other_spellings(spelled: str, name: str) -> None:
    assert entry(spelled) is BACKBONES[name]


def test_unknown_name() -> None:
    with pytest.raises(UserError, match="did you mean 'resnet50'"):
        entry("resnt50")
    with pytest.raises(UserError, match="did you mean 'bert_tiny_en_uncased'"):
        entry("bert_tiny_en_uncasd")


def test_early_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder \(did you mean 'imagenet'"):
        check(Config(name="vgg16", weights="imagnet"))
    with pytest.raises(UserError, match="not a weight file of vgg16"):
        check(Config(name="vgg16", weights=str(tmp_path)))
    with pytest.raises(UserError, match="image_size"):
        Config(name="vgg16", image_size=8)


def test_package_is_found_but_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "weights_of_mine"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemError('the package was run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("package://weights_of_mine/model") == (package / "model").resolve()
    assert "weights_of_mine" not in sys.modules
    with pytest.raises(UserError, match="it has model"):
        package_folder("package://weights_of_mine/mdoel")
    with pytest.raises(UserError, match="it has model"):
        package_folder("package://weights_of_mine/../..")


def test_altered_package_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "minilm_copy" / "model" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not the published weights")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(backbones.sources.KNOWN_SHA256, ("minilm_copy", "model/model.safetensors"), "0" * 64)
    with pytest.raises(UserError, match=r"sha256 is \w{64}, the published file's is 0000"):
        package_folder("package://minilm_copy/model")


def test_package_that_is_not_installed() -> None:
    with pytest.raises(UserError, match="pip install not-there"):
        package_folder("package://not_there/model")


def test_offline_names_what_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for name in (
        "resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5",
        "efficientnetv2-b0_notop.h5",
        "vgg16_weights_tf_dim_ordering_tf_kernels.h5",  # with top: not what is loaded
    ):
        (tmp_path / "models" / name).touch()
    said = offline(BACKBONES)
    assert "efficientnet_v2_b0, mobilenet_v3_small, resnet50_v2" in said
    assert "vgg16" not in said
