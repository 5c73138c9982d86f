"""An export counts when a process that knows TensorFlow alone gets from it what the run was evaluated with, and not before."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfl
from tests.assets import asset
from tfl import Phase
from tfl.cli import main
from tfl.config import UserError
from tfl.serving import bundle, certificate


def version_of(folder: Path) -> Path:
    return bundle.chosen(folder)[0]


def certificate_of(folder: Path) -> dict[str, Any]:
    return json.loads((version_of(folder) / "certificate.json").read_text())


@pytest.mark.parametrize("which", ["image", "text"])
def test_a_right_export_is_certified(which: str, request: pytest.FixtureRequest) -> None:
    run, folder = request.getfixturevalue(f"{which}_run"), request.getfixturevalue(f"{which}_export")
    found = certificate_of(folder)
    assert found["passed"]
    assert found["examples"] == found["compared"] == run.metrics["examples"]
    assert found["agreement"] == 1.0
    assert found["largest_difference"] <= 1e-5
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["evaluated"] == accuracy["served"] == run.metrics["accuracy"]["value"]
    assert "saved_model.pb" in found["files"]


@pytest.mark.parametrize("which", ["image", "text"])
def test_what_a_version_takes_and_gives(which: str, request: pytest.FixtureRequest, photos: Path) -> None:
    run, folder = request.getfixturevalue(f"{which}_run"), version_of(request.getfixturevalue(f"{which}_export"))
    signatures = tf.saved_model.load(str(folder)).signatures
    assert set(signatures) == {"serving_default", "predict_tensors", "features"}
    files = sorted(map(str, photos.rglob("*.png")))[:3]
    texts = ["sales rose this year", "costs fell", "we saw"]
    raw = {"text": texts} if which == "text" else {"images": [Path(file).read_bytes() for file in files]}
    answer = signatures["serving_default"](**{name: tf.constant(values) for name, values in raw.items()})
    names = [name.decode() for name in answer["class_names"][0].numpy()]
    table = run.predict(texts if which == "text" else files)
    np.testing.assert_allclose(answer["probabilities"], table[[f"p_{name}" for name in names]], atol=1e-5)
    assert [name.decode() for name in answer["class"].numpy()] == table["predicted"].tolist()
    assert answer["top_classes"].numpy()[:, 0].tolist() == answer["class"].numpy().tolist()
    assert np.all(np.diff(answer["top_probabilities"]) <= 0)
    features = signatures["features"](**{name: tf.constant(values) for name, values in raw.items()})["features"]
    assert features.shape == (3, run.model.get_layer("head").input.shape[-1])
    if which == "text":
        tensors = run.preprocess(tf.constant(texts))
    else:
        from tfl.data import image

        pixels = [image.resize(image.decode(tf.io.read_file(file)), run.preprocess.size, run.facts.resize) for file in files]
        tensors = {"image": run.preprocess(tf.stack(pixels))}
    same = signatures["predict_tensors"](**tensors)["probabilities"]
    np.testing.assert_allclose(same, answer["probabilities"], atol=1e-5)
    assert (folder / "assets" / "class_names.txt").read_text().split() == names


def exported_with(monkeypatch: pytest.MonkeyPatch, change: Callable[..., dict[str, Any]]) -> None:
    """Lets exports be written with what `change` makes of their arguments."""
    original = bundle.export

    def export(folder: Path, model: Any, tasks: Any, preprocess: Any, **named: Any) -> None:
        given = change(model=model, tasks=tasks, preprocess=preprocess, **named)
        original(folder, given.pop("model"), given.pop("tasks"), given.pop("preprocess"), **given)

    monkeypatch.setattr(bundle, "export", export)


class Swapped:
    """A preprocessing that takes the channels in the other order."""

    def __init__(self, own: Any) -> None:
        self.size, self._own = own.size, own

    def __call__(self, images: Any) -> Any:
        return self._own(images[..., ::-1])


def another_order(tasks: Any) -> dict[str, Any]:
    return {name: dataclasses.replace(task, class_names=task.class_names[::-1]) for name, task in tasks.items()}


WRONG = {
    "resize": (lambda **given: {**given, "resize": "squash"}, "probabilities of"),
    "channels": (lambda **given: {**given, "preprocess": Swapped(given["preprocess"])}, "probabilities of"),
    "classes": (lambda **given: {**given, "tasks": another_order(given["tasks"])}, "served as dark, bright"),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_export_that_predicts_otherwise_fails(
    name: str, image_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, reason = WRONG[name]
    exported_with(monkeypatch, change)
    with pytest.raises(UserError, match=reason) as caught:
        image_run.export(tmp_path / "export")
    assert not list(tmp_path.rglob("saved_model.pb"))  # nothing is left that a server could load
    bundle.check(tmp_path / "export")
    (tmp_path / "export" / ".draft-killed").mkdir()
    bundle.check(tmp_path / "export")  # the same command can be given again
    if name != "classes":
        worst = str(caught.value).splitlines()[1]
        assert ".png: evaluated" in worst


def copied(run: Any, folder: Path) -> Path:
    shutil.copytree(run.directory, folder)
    return folder


def test_a_changed_weight_fails(image_run: Any, tmp_path: Path) -> None:
    run = tfl.load(copied(image_run, tmp_path / "run"))
    kernel = run.model.get_layer("head").kernel
    kernel.assign(kernel.numpy() + np.eye(*kernel.shape, dtype=np.float32))
    with pytest.raises(UserError, match="probabilities of"):
        run.export(tmp_path / "export")


def test_a_vocabulary_without_a_line_fails(text_run: Any, tmp_path: Path) -> None:
    folder = copied(text_run, tmp_path / "run")
    (vocabulary,) = (folder / "preprocess").rglob("vocabulary.txt")
    words = vocabulary.read_text().splitlines(keepends=True)
    vocabulary.write_text("".join(word for word in words if word.strip() != "rose"))
    with pytest.raises(UserError, match="the export does not predict what was evaluated: probabilities of"):
        tfl.load(folder).export(tmp_path / "export")


def test_verify_repeats_it_and_finds_what_changed(
    image_export: Path, tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(image_export, folder)
    assert main(["verify", str(folder)]) == 0
    assert "the same classes for all" in capsys.readouterr().out
    version = version_of(folder)
    (weights,) = (version / "variables").glob("*.data-*")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    (version / "assets" / "class_names.txt").write_text("a\nb\n")
    assert main(["verify", str(version)]) == 1
    told = capsys.readouterr().out
    assert "assets/class_names.txt has changed" in told
    assert main(["verify", str(photos)]) == 2
    assert "not an export" in capsys.readouterr().err


def test_an_image_that_changed_is_named(photos: Path, tmp_path: Path) -> None:
    own = tmp_path / "photos"
    shutil.copytree(photos, own)
    run = tfl.finetune(
        str(own),
        backbone={"name": "mobilenet_0.25", "image_size": 32, "weights": "none"},
        phases=[tfl.Phase(epochs=1)],
        out=tmp_path / "run",
    )
    first, second = run.predict(sorted(map(str, own.rglob("*.png"))))["id"][:2]
    folder = run.directory / "predictions.csv"
    ids = [line.split(",")[0] for line in folder.read_text().splitlines()[1:3]]
    first, second = (next(own.rglob(Path(one).name)) if not (own / one).exists() else own / one for one in ids)
    first.unlink()
    second.write_bytes(second.read_bytes() + b" ")
    with pytest.raises(UserError, match=r"1 of \d+ images cannot be read any more.*1 of \d+ images have changed"):
        run.export(tmp_path / "export")


def test_real_weights_and_photos(tmp_path: Path) -> None:
    run = tfl.finetune(
        str(asset("images/hymenoptera")),
        backbone={"name": "mobilenet_v2", "weights": str(asset("weights/mobilenet_v2_1.0_224_imagenet.weights.h5"))},
        phases=[tfl.Phase(epochs=3)],
        data={"max_train": 64},
        out=tmp_path / "run",
    )
    run.export(tmp_path / "export")
    found = certificate_of(tmp_path / "export")
    assert (found["compared"], found["agreement"]) == (run.metrics["examples"], 1.0)
    assert found["largest_difference"] <= 1e-5


def test_versions_are_counted_and_configured(image_run: Any, image_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(image_export, folder)
    assert image_run.export(folder, name="photos") == folder / "photos" / "2"
    assert image_run.export(folder) == folder / "folder-mobilenet_0-25" / "1"
    assert 'name: "photos" base_path: "/models/photos"' in (folder / "models.config").read_text()
    assert [path.name for path in bundle.chosen(folder / "photos")] == ["1", "2"]
    assert "docker run" in (folder / "README.md").read_text()
    assert "| accuracy |" in (folder / "photos" / "2" / "model_card.md").read_text()


def test_the_witness_finds_what_is_installed_by_the_path_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As HPC modules install packages; and imports nothing from beside itself."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "of_a_module.py").write_text("VALUE = 7")
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "json.py").write_text("raise SystemExit('the wrong one')")
    script = tmp_path / "scripts" / "script.py"
    script.write_text("import json, sys, of_a_module, numpy as np\nnp.savez(sys.argv[1], value=of_a_module.VALUE)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path / "scripts")
    assert certificate._asked("TensorFlow", tmp_path, [script, tmp_path / "answers.npz"])["value"] == 7


def test_a_foreign_folder_is_left_alone(image_run: Any, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        image_run.export(tmp_path)
    with pytest.raises(UserError, match=r"^name: 'a/b' is not valid"):
        image_run.export(tmp_path / "export", name="a/b")


def test_warm_up_requests_are_answered(image_export: Path, text_export: Path) -> None:
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    for folder in (image_export, text_export):
        version = version_of(folder)
        records = tf.data.TFRecordDataset(str(version / "assets.extra" / "tf_serving_warmup_requests"))
        serve = tf.saved_model.load(str(version)).signatures["serving_default"]
        sizes = []
        for record in records.as_numpy_iterator():
            request = logs.PredictionLog.FromString(record).predict_log.request
            given = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
            sizes.append(len(serve(**given)["probabilities"]))
        assert sizes == [1, 8]


def test_what_predicts_something_else_is_no_next_version(text_run: Any, calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    exports, network = tmp_path / "exports", {"name": str(tiny_bert), "pooling": "mean"}
    text_run.export(exports)
    (name,) = [path.name for path in exports.iterdir() if path.is_dir()]
    table = pd.read_csv(calls)
    table["size"] = np.arange(len(table)) / 7
    table.to_csv(tmp_path / "sizes.csv", index=False)
    other = tfl.finetune(
        str(tmp_path / "sizes.csv"), backbone=network, phases=[Phase(epochs=1)], data={"label": "size"}, out=tmp_path / "other"
    )
    with pytest.raises(UserError, match=rf"of another model \(classification: .*than this run \(regression\).*{name!r} to"):
        other.export(exports)
    assert "the same classes" not in certificate.load(other.export(exports, name="sizes")).told()
    assert text_run.export(exports).name == "2", "of the same classes"
    assert other.export(exports, name=name).name == "3", "the user said so"
