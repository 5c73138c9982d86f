"""Fine-tuning from end to end, on small data: what a user does with a run, before and after it is closed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest

import tfl
from tests.data.test_cells import hub_table
from tfl import Last, Lora, Phase, UserError, distribute
from tfl.cli import main
from tfl.config import read

ROOT = Path(__file__).resolve().parents[1]
IMAGES: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "data": {"batch_size": 8},
    "phases": [Phase(epochs=1), Phase(trainable=Last(last=2), epochs=2, learning_rate=1e-3)],
}


def finetune_images(photos: Path, out: Path, **fields: Any) -> Any:
    given = {**IMAGES, **fields}
    return tfl.finetune(str(photos), out=out, **given)


@pytest.fixture(scope="module")
def image_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return finetune_images(photos, tmp_path_factory.mktemp("run") / "images")


@pytest.fixture(scope="module")
def text_run(calls: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    phases = [Phase(epochs=1), Phase(trainable="all", epochs=10, learning_rate=1e-2)]
    out = tmp_path_factory.mktemp("run") / "texts"
    backbone = {"name": str(tiny_bert), "pooling": "mean"}
    return tfl.finetune(str(calls), backbone=backbone, out=out, data={"label": "tone", "batch_size": 8}, phases=phases)


def test_a_run_is_read_back_and_predicts_the_same(image_run: Any, photos: Path) -> None:
    files = sorted(str(path) for path in photos.rglob("*.png"))[:5]
    again = tfl.load(image_run.directory)
    pd.testing.assert_frame_equal(again.predict(files), image_run.predict(files))
    assert again.metrics == image_run.metrics
    assert isinstance(again.model, keras.Model)
    assert list(again.predict(files).columns) == ["id", "predicted", "probability", "p_bright", "p_dark"]


def test_texts_are_read_back_and_predict_the_same(text_run: Any) -> None:
    texts = ["sales rose", "costs fell sharply again", "sales rose this year"]
    again = tfl.load(text_run.directory)
    pd.testing.assert_frame_equal(again.predict(texts), text_run.predict(texts))


def test_the_kept_predictions_are_those_of_the_report(image_run: Any, text_run: Any) -> None:
    for run in (image_run, text_run):
        table = pd.read_csv(run.directory / "predictions.csv")
        assert len(table) == run.report.data["sizes"]["test"]
        assert (table["label"] == table["predicted"]).mean() == pytest.approx(run.metrics["accuracy"]["value"])


def test_the_kept_predictions_come_again(image_run: Any, photos: Path) -> None:
    table = pd.read_csv(image_run.directory / "predictions.csv")
    again = image_run.predict([str(photos / name) for name in table["id"]])
    np.testing.assert_allclose(again["p_dark"], table["p_dark"], atol=1e-5)


def test_evaluating_predicts_the_test_split_again(image_run: Any, text_run: Any, tmp_path: Path) -> None:
    for run in (image_run, text_run):
        again = tfl.load(run.directory)
        found = again.evaluate()
        assert found["confusion_matrix"] == run.metrics["confusion_matrix"]
        for name in ("accuracy", "log_loss"):
            assert found[name] == pytest.approx(run.metrics[name])
        head = again.model.layers[-1]
        head.set_weights([-value for value in head.get_weights()])
        right, wrong = (found["accuracy"]["value"] for found in (run.metrics, again.evaluate()))
        assert wrong == pytest.approx(1 - right), "of two classes"


def test_evaluating_on_what_was_trained_on_says_so(image_run: Any, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = image_run.report.data["sizes"]
    assert image_run.evaluate(str(photos))["seen"] == sizes["train"] + sizes["validation"]
    assert "seen" not in image_run.evaluate()
    tested = pd.read_csv(image_run.directory / "predictions.csv")
    own = ([str(photos / one) for one in tested["id"]], list(tested["label"]))
    assert "seen" not in image_run.evaluate(own)
    assert main(["evaluate", str(image_run.directory), str(photos)]) == 0
    assert f"warning: the run was trained on {sizes['train'] + sizes['validation']} of these" in capsys.readouterr().out


def test_a_test_image_that_is_gone_is_named(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos, tmp_path / "photos")
    small: dict[str, Any] = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    run = tfl.finetune(str(folder), backbone=small, out=tmp_path / "run", phases=[Phase(epochs=1)], data={"test": 0.6})
    tested = pd.read_csv(run.directory / "predictions.csv")["id"]
    (folder / tested[0]).unlink()
    found = run.evaluate()
    assert found["examples"] == len(tested) - 1
    assert found["unreadable"] == [{"id": tested[0], "reason": "the file is gone"}]
    (folder / tested[0]).write_bytes((folder / tested[1]).read_bytes())
    assert run.evaluate()["unreadable"] == [{"id": tested[0], "reason": "the file is another one now"}], (
        "of which nothing is known"
    )
    (folder / tested[1]).unlink()
    with pytest.raises(UserError, match="2 of 24 examples unreadable"):
        run.evaluate()


def test_the_report_says_what_trained(image_run: Any) -> None:
    head, top = image_run.report.phases
    assert head.blocks == ()
    assert head.moved.changed == 2
    assert len(top.blocks) == 2
    assert top.moved.still == ()
    assert head.trainable_parameters < top.trainable_parameters
    assert [epoch["epoch"] for epoch in top.epochs] == [1, 2]
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "seconds"} <= set(top.epochs[0])
    written = json.loads((image_run.directory / "report.json").read_text())
    assert written["phases"][1]["moved"]["changed"] == top.moved.changed


def test_the_kept_config_reproduces_the_run(image_run: Any, tmp_path: Path) -> None:
    from tfl.jobs import config_of
    from tfl.methods import METHODS

    config = config_of(read(image_run.directory / "config.yaml"))
    again = METHODS[config.method].run(config, tmp_path / "again")
    assert again.metrics == image_run.metrics
    first, second = (pd.read_csv(run.directory / "predictions.csv") for run in (image_run, again))
    pd.testing.assert_frame_equal(first, second)


def test_a_text_run_is_reproducible(text_run: Any, tmp_path: Path) -> None:
    from tfl.jobs import config_of
    from tfl.methods import METHODS

    again = METHODS["finetune"].run(config_of(read(text_run.directory / "config.yaml")), tmp_path / "again")
    assert again.metrics == text_run.metrics


def test_it_learns(text_run: Any) -> None:
    assert text_run.metrics["accuracy"]["value"] >= 0.8


def test_evaluation_on_other_data_maps_classes_by_name(image_run: Any, photos: Path, tmp_path: Path) -> None:
    whole = image_run.evaluate(str(photos))
    assert whole["examples"] == 40
    other = tmp_path / "other"
    for name in ("dark", "unknown"):
        (other / name).mkdir(parents=True)
        for file in list((photos / "dark").iterdir())[:3]:
            (other / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(UserError, match="unknown"):
        image_run.evaluate(str(other))


def test_an_unreadable_image_is_reported_and_not_fatal(image_run: Any, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"hello")
    good = [str(path) for path in sorted(photos.rglob("*.png"))[:2]]
    table = image_run.predict([good[0], str(bad), good[1]])
    assert list(table["id"]) == [good[0], str(bad), good[1]]
    assert table["error"].isna().tolist() == [True, False, True]


def test_data_given_in_python(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = np.clip(random.normal(80 + 90 * labels[:, None, None, None], 20, (40, 32, 32, 3)), 0, 255).astype(np.uint8)
    run = tfl.finetune((images, labels), out=tmp_path / "run", **IMAGES)
    assert len(run.predict(images[:3])) == 3
    assert run.evaluate((images, labels))["examples"] == 40


def test_a_data_frame(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(calls)
    run = tfl.finetune(frame, backbone=str(tiny_bert), out=tmp_path / "run", data={"label": "tone"}, phases=[Phase(epochs=1)])
    assert run.evaluate(frame)["examples"] == 60


def test_regression(tiny_bert: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    counts = random.integers(0, 9, 80)
    frame = pd.DataFrame({"text": ["rose " * count + "fell " * (8 - count) for count in counts], "label": counts * 100.5})
    phases = [Phase(trainable="all", epochs=10, learning_rate=1e-2)]
    backbone = {"name": str(tiny_bert), "pooling": "mean"}
    run = tfl.finetune(frame, backbone=backbone, out=tmp_path / "run", data={"batch_size": 8}, phases=phases)
    assert run.metrics["mae"]["value"] < 100  # the labels go from 0 to 804
    assert tfl.load(run.directory).predict(["rose"])["predicted"].item() == run.predict(["rose"])["predicted"].item()


def test_several_labels(tiny_bert: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    up, year = random.integers(0, 2, (2, 80))
    texts = [f"{'rose' if a else 'fell'} {'year' if b else 'again'} {i}" for i, (a, b) in enumerate(zip(up, year, strict=True))]
    frame = pd.DataFrame({"text": texts, "up": up, "year": year})
    run = tfl.finetune(
        frame, backbone=str(tiny_bert), out=tmp_path / "run", data={"label": ["up", "year"], "batch_size": 8},
        phases=[Phase(trainable="all", epochs=8, learning_rate=1e-2)],
    )  # fmt: skip
    assert run.metrics["accuracy"]["value"] > 0.8
    assert run.predict(["rose year"])["predicted"].item() == "up;year"


def test_lora_trains_adapters_only_and_comes_back(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    phases = [Phase(trainable=Lora(lora=2), epochs=2, learning_rate=1e-2)]
    run = tfl.finetune(str(calls), backbone=str(tiny_bert), out=tmp_path / "run", data={"label": "tone"}, phases=phases)
    (phase,) = run.report.phases
    assert phase.moved.still == ()
    assert phase.moved.changed == 2 * 2 * 2 + 2  # two layers, query and value, two matrices each; and the head
    texts = ["sales rose", "costs fell sharply again"]
    pd.testing.assert_frame_equal(tfl.load(run.directory).predict(texts), run.predict(texts), rtol=1e-5)
    exported = saved_model(run.export(tmp_path / "export"), "text", texts)
    np.testing.assert_allclose(exported[:, 0], run.predict(texts)["p_down"], atol=1e-5)


def test_folds(calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    run = tfl.finetune(
        str(calls),
        backbone=str(tiny_bert),
        out=tmp_path / "run",
        data={"label": "tone"},
        folds=3,
        phases=[Phase(epochs=1)],
    )
    accuracy = run.report.folds["metrics"]["accuracy"]
    assert len(accuracy["values"]) == 3
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    assert accuracy["low"] <= accuracy["mean"] <= accuracy["high"]


def test_a_table_of_encoded_images_goes_all_the_way(tmp_path: Path) -> None:
    file = hub_table(tmp_path / "train.parquet")
    small: dict[str, Any] = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    fields: dict[str, Any] = {"phases": [Phase(epochs=1)], "data": {"on_error": "skip"}, "seed": 1}
    run = tfl.finetune(str(file), backbone=small, out=tmp_path / "run", **fields)
    assert run.evaluate()["accuracy"] == run.metrics["accuracy"]
    assert main(["predict", str(run.directory), str(file), "--out", str(tmp_path / "p.csv")]) == 0
    table = pd.read_csv(tmp_path / "p.csv")
    assert len(table) == 40
    assert table["error"].notna().sum() == 2
    assert list(table["image"][:3]) == ["0.png", "1.png", "2.png"]
    run.export(tmp_path / "export")


def test_too_few_examples_for_one_batch_of_a_fixed_shape(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribute, "needs_static_shapes", lambda strategy: True)
    backbone = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    with pytest.raises(UserError, match=r"^data\.batch_size: \d+ examples to train on make no batch, which needs 500 of them"):
        tfl.finetune(photos, backbone=backbone, data={"batch_size": 500}, phases=[Phase(epochs=1)], out=tmp_path / "run")


def test_nothing_is_overwritten(image_run: Any, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="already holds something"):
        finetune_images(photos, image_run.directory)
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        image_run.export(tmp_path)


def saved_model(folder: Path, name: str, values: list[Any]) -> np.ndarray:
    """The probabilities of an export, from a process that knows nothing of tfl and Keras."""
    code = (
        "import sys, json, tensorflow as tf\n"
        f"{'import tensorflow_text' if name == 'text' else ''}\n"
        "values = json.load(sys.stdin)\n"
        f"if {name!r} == 'images': values = [open(v, 'rb').read() for v in values]\n"
        f"serve = tf.saved_model.load({str(folder)!r}).signatures['serving_default']\n"
        f"print(json.dumps(serve({name}=tf.constant(values))['probabilities'].numpy().tolist()))\n"
        "assert 'tfl' not in sys.modules and 'keras_hub' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.asarray(json.loads(done.stdout.splitlines()[-1]))


def test_the_export_predicts_what_the_run_predicts(image_run: Any, photos: Path, tmp_path: Path) -> None:
    files = sorted(str(path) for path in photos.rglob("*.png"))
    exported = saved_model(image_run.export(tmp_path / "export"), "images", files)
    np.testing.assert_allclose(exported, image_run.predict(files)[["p_bright", "p_dark"]], atol=1e-5)


def test_the_export_of_texts_predicts_what_the_run_predicts(text_run: Any, calls: Path, tmp_path: Path) -> None:
    texts = pd.read_csv(calls)["text"].tolist()
    exported = saved_model(text_run.export(tmp_path / "export"), "text", texts)
    np.testing.assert_allclose(exported, text_run.predict(texts)[["p_down", "p_up"]], atol=1e-5)
