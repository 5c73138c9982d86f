"""A model file for another runtime counts when a process that knows that runtime alone predicts what was evaluated."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import tfl
from tfl.cli import main
from tfl.config import UserError
from tfl.serving import certificate, comparison, targets, tensors
from tfl.serving.targets import TARGETS

INPUTS = {"image": ["image"], "text": ["padding_mask", "segment_ids", "token_ids"]}


@pytest.fixture(scope="module", params=[f"{which}-{name}" for which in INPUTS for name in TARGETS])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, str, Path]:
    """What the run reads, the run, the format, and the folder of its export."""
    which, name = request.param.split("-")
    run = request.getfixturevalue(f"{which}_run")
    folder = tmp_path_factory.mktemp("targets") / request.param
    assert run.export(folder, format=name) == folder
    return which, run, name, folder


def test_a_right_export_is_certified_and_described(exported: tuple[str, Any, str, Path]) -> None:
    which, run, name, folder = exported
    found = certificate.load(folder)
    assert (found.passed, found.format, found.agreement) == (True, name, 1.0)
    assert found.compared == run.metrics["examples"]
    assert found.largest_difference <= 1e-5
    assert found.metrics["accuracy"]["served"] == run.metrics["accuracy"]["value"]
    assert TARGETS[name].file in found.files
    (task,) = run.facts.tasks.values()
    assert (folder / "class_names.txt").read_text().split() == list(task.class_names)
    assert "| accuracy |" in (folder / "model_card.md").read_text()
    told = (folder / "README.md").read_text()
    assert all(f"| takes | `{key}` |" in told for key in INPUTS[which])
    assert ("Divide by 127.5 and subtract 1" if which == "image" else "BertTokenizer") in told


def test_any_number_of_rows_is_answered_as_the_readme_says(
    exported: tuple[str, Any, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    which, run, _, folder = exported
    if which == "image":
        rows = {"image": np.random.default_rng(0).uniform(-1, 1, (3, 32, 32, 3)).astype(np.float32)}
    else:
        tokens = run.preprocess(tf.constant(["sales rose this year", "costs fell", "we saw"]))
        rows = {key: values.numpy() for key, values in tokens.items()}
    usage = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder)
    for count in (1, 3):
        given: dict[str, Any] = {key: values[:count] for key, values in rows.items()}
        expected = tf.nn.softmax(next(iter(run.model(given, training=False).values())))
        exec(usage, given)
        np.testing.assert_allclose(given["answer"], expected, atol=1e-5)


def test_verify_repeats_it_and_finds_what_changed(
    image_run: Any, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "export"
    assert main(["export", str(image_run.directory), "--format", "onnx", "--out", str(folder)]) == 0
    assert "the same classes for all" in capsys.readouterr().out
    assert main(["verify", str(folder)]) == 0
    (folder / "class_names.txt").write_text("\n".join(reversed((folder / "class_names.txt").read_text().split())) + "\n")
    assert main(["verify", str(folder)]) == 1
    told = capsys.readouterr().out
    assert "class_names.txt has changed" in told
    assert "the classes are served as" in told
    assert main(["export", str(image_run.directory), "--format", "onnx", "--out", str(folder)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_class_name_ends_at_the_end_of_its_line_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a\u2028b", "c\x85d", "e\x0bf", "g\x0ch"]
    (tmp_path / certificate.CLASS_NAMES).write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    monkeypatch.setattr(certificate.tensors, "of_kept", lambda *_: {})
    monkeypatch.setattr(certificate, "_asked", lambda *_: {})
    served = certificate._served(tmp_path, {"format": "litert", "class_names": names})
    assert served["class_names"].tolist() == [names]


def test_wrong_weights_fail(text_run: Any, tmp_path: Path) -> None:
    shutil.copytree(text_run.directory, tmp_path / "run")
    run = tfl.load(tmp_path / "run")
    kernel = run.model.get_layer("head").kernel
    kernel.assign(kernel.numpy()[:, ::-1])
    with pytest.raises(UserError, match=r"probabilities of \d+ of \d+ examples differ") as caught:
        run.export(tmp_path / "export", format="onnx")
    assert 2 <= len(str(caught.value).splitlines()) <= 11
    assert ": evaluated " in str(caught.value).splitlines()[1]
    assert not (tmp_path / "export").exists()


def test_an_image_that_changed_is_named(image_run: Any, photos: Path, tmp_path: Path) -> None:
    file, preprocess = image_run.directory / "examples.tfrecord", image_run.directory / "preprocess"
    about = {"modality": "image", "resize": "crop"}
    ids = pd.read_csv(image_run.directory / "predictions.csv")["id"]
    first, second = (next(photos.rglob(Path(one).name)) if not (photos / one).exists() else photos / one for one in ids[:2])
    content = first.read_bytes(), second.read_bytes()
    try:
        first.unlink()
        second.write_bytes(content[1] + b" ")
        gone = tensors.of_kept(file, preprocess, about, tmp_path)
    finally:
        first.write_bytes(content[0])
        second.write_bytes(content[1])
    assert (gone["missing"].tolist(), gone["changed"].tolist()) == ([ids[0]], [ids[1]])
    rows = [np.load(part)["image"] for part in sorted(tmp_path.glob("*.npz"))]
    assert sum(map(len, rows)) == len(ids) - 2


def test_a_quantised_export_states_its_cost(image_run: Any, tmp_path: Path) -> None:
    small = image_run.export(tmp_path / "small", format="litert", quantize="int8", max_loss=1.0)
    found = certificate.load(small)
    assert found.passed
    assert found.cost["metric"] == "accuracy"
    assert found.cost["lost"] == found.cost["evaluated"] - found.cost["served"]
    assert (small / "model.tflite").stat().st_size < 450_000  # 866 kB in float32
    assert "in 8 bits" in found.told()


def test_quantisation_that_costs_too_much_fails() -> None:
    about = {"kind": "classification", "class_names": ["a", "b"], "tolerance": 1e-4, "quantize": "int8"}
    evaluated = pd.DataFrame({"p_a": [0.9] * 10, "p_b": [0.1] * 10})
    rows = [{"id": str(number), "label": np.array([0.0])} for number in range(10)]
    answers = np.array([[0.6, 0.4]] * 9 + [[0.4, 0.6]])
    served = {"probabilities": answers, "class_names": np.array([["a", "b"]])}
    reasons, result = comparison.compared({**about, "max_loss": 0.1}, evaluated, served, rows)
    assert (reasons, result["agreement"]) == ([], 0.9)
    assert [one["id"] for one in result["disagreements"]] == ["9"]
    reasons, _ = comparison.compared({**about, "max_loss": 0.02}, evaluated, served, rows)
    assert reasons == ["quantisation takes 0.1000 of accuracy, from 1.0000 to 0.9000 (at most 0.02)"]
    reasons, _ = comparison.compared({**about, "max_loss": 1.0}, evaluated, {**served, "probabilities": answers * np.nan}, rows)
    assert "not defined" in reasons[0]


def test_int8_is_calibrated_on_training_examples_or_not_at_all(image_run: Any, tmp_path: Path) -> None:
    ids = set(tensors.training_examples(image_run).ids)
    assert ids
    assert not ids & set(pd.read_csv(image_run.directory / "predictions.csv")["id"])
    report = image_run.report
    moved = SimpleNamespace(config=report.config, data={**report.data, "fingerprint": "another"})
    with pytest.raises(UserError, match="has changed since"):
        tensors.training_examples(SimpleNamespace(report=moved))  # type: ignore[arg-type]
    given = SimpleNamespace(config={"data": {"source": "memory"}}, data=report.data)
    with pytest.raises(UserError, match="got its data in Python"):
        tensors.training_examples(SimpleNamespace(report=given))  # type: ignore[arg-type]


def test_what_a_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    strings = SimpleNamespace(input={"text": SimpleNamespace(dtype="string")})
    with pytest.raises(UserError, match="no strings"):
        targets.convert(tmp_path, "onnx", strings, {"label": None})  # type: ignore[arg-type, dict-item]
    layer = SimpleNamespace(dtype_policy=SimpleNamespace(compute_dtype="bfloat16"))
    mixed = SimpleNamespace(input={"image": SimpleNamespace(dtype="float32")}, layers=[layer])
    with pytest.raises(UserError, match="computes in 16 bits"):
        targets.convert(tmp_path, "onnx", mixed, {"label": None})  # type: ignore[arg-type, dict-item]


MISTAKES = {
    "format": (["--format", "onyx"], "'onyx' is not valid (did you mean 'onnx'?)"),
    "quantize": (["--format", "onnx", "--quantize", "int8"], "for the format litert alone"),
    "how": (["--format", "litert", "--quantize", "int4"], "'int4' is not valid; dynamic or int8"),
    "loss": (["--format", "litert", "--quantize", "int8", "--max-loss", "2"], "--max-loss: 2 is not valid"),
    "extra": (["--format", "onnx"], "onnxruntime and tf2onnx is not installed; pip install '.[onnx]' in the clone of tfl"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_said(
    name: str, image_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options, told = MISTAKES[name]
    if name == "extra":
        find = importlib.util.find_spec
        absent = ("onnxruntime", "tf2onnx")
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda module, *rest: None if module in absent else find(module, *rest)
        )
    assert main(["export", str(image_run.directory), "--out", str(tmp_path / "export"), *options]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "export").exists()
