"""What is typed, or written in a config: punctuation, keys given twice, options that are keys, types that are wrong."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import tfl
from tests.test_resume import Broken, run
from tfl.cli import main
from tfl.config import UserError, override, read
from tfl.jobs import config_of
from tfl.mistyped import as_typed
from tfl.parser import whole
from tfl.phases import Last, Lora, Phase
from tfl.studies.compare.plan import plan

# --- values of overrides ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["|", ",", ":", "&", "*", ">", "-", "#", ";", "=", "---", "[", "'", "||"])
def test_punctuation_is_itself(mark: str) -> None:
    assert override({}, [f"data.label_separator={mark}"]) == {"data": {"label_separator": mark}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("[]", []), ("{}", {}), ("[[]]", [[]]), ("~", None), ("null", None), ("", None), ("''", ""), ("'|'", "|"), ('","', ",")],
)
def test_what_yaml_means_by_punctuation_stays(text: str, value: Any) -> None:
    assert override({}, [f"task.hidden={text}"]) == {"task": {"hidden": value}}


# --- configs ----------------------------------------------------------------------------------------------------------


def written(place: Path, text: str) -> Path:
    file = place / "job.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("data: {source: digits}\nseed: 1\ndata:\n  source: npz\n", "job.yaml: data: it is there twice, in lines 1 and 3"),
        ("data:\n  test: 0.1\n  'test': 0.2\n", "test: it is there twice, in lines 2 and 3"),
        ("data: {test: 0.1, test: 0.2}\n", "test: it is there twice"),
        ("", "a config is a mapping (`method: …`, `data: …`); it is empty"),
        ("# nothing\n", "it is empty"),
        ("- 1\n", "not list"),
    ],
)
def test_a_file_that_is_no_config(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(written(tmp_path, text))
    assert said in str(error.value)


def test_a_key_given_twice_in_an_override() -> None:
    with pytest.raises(UserError, match="epochs: it is there twice"):
        override({}, ["phases=[{epochs: 1, epochs: 2}]"])


def test_keys_that_are_merged_are_not_given_twice(tmp_path: Path) -> None:
    raw = read(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\n"))
    assert raw == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("photos", "data: 'photos' is not valid; it is a mapping, such as data: {source: folder, path: photos}"),
        ("calls.csv", "such as data: {source: table, path: calls.csv}"),
        ("digits", "such as data: {source: digits}"),
        ("fotos", "such as data: {source: folder, path: fotos}"),
        ("folder", "such as data: {source: folder, path: photos}"),
        (
            {"path": "photos"},
            "one of folder, table, tfds, tfrecord, npz, digits, earnings_calls; for photos it is source: folder",
        ),
        ({"path": "fotos"}, "data.source: missing; it says how the data is read, one of folder, table"),
        ({"label": "tone"}, "data.source: missing; it says how the data is read, one of folder, table"),
    ],
)
def test_data_without_a_source(
    data: Any, said: str, photos: Path, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").symlink_to(photos)
    (tmp_path / "calls.csv").symlink_to(calls)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        config_of({"data": data, "backbone": {"name": "mobilenet_v2"}})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"phases": ["head", "conv5"]},
            "phases.0: 'head' is not valid; a phase is a mapping: phases: [{trainable: head}], in Python "
            "[tfl.Phase(trainable='head')]\nphases.1: 'conv5' is not valid; a phase is a mapping: phases: [{trainable: conv5}]",
        ),
        ({"phases": [3]}, "phases.0: 3 is not valid; a mapping for Phase"),
        (
            {"phases": [{"learning_rate": "0,001"}]},
            "phases.0.learning_rate: '0,001' is not valid; a number, with a point: 0.001",
        ),
        ({"phases": [{"learning_rate": "fast"}]}, "phases.0.learning_rate: 'fast' is not valid; a number"),
        ({"deterministic": "perhaps"}, "deterministic: 'perhaps' is not valid; true or false"),
        ({"folds": 2.5}, "folds: 2.5 is not valid; a whole number"),
        ({"features": False}, "features: false is not valid; null turns it off"),
        ({"augment": False, "checkpoints": False}, "augment: false is not valid; null turns it off\ncheckpoints: false"),
    ],
)
def test_a_value_of_a_wrong_type(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        config_of({"data": {"source": "digits"}, "backbone": {"name": "resnet50"}, **fields})
    assert str(error.value).startswith(said)
    assert "input should" not in str(error.value)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--epochs 3", "of a phase in its list, phases='[{trainable: head, epochs: 3}]'"),
        ("--epochs=3 --lr 1e-4", "phases='[{trainable: head, epochs: 3, learning_rate: 1e-4}]'"),
        ("--learning-rate 1e-4", "phases='[{trainable: head, learning_rate: 1e-4}]'"),
        ("--batch-size 8 --dropout 0.1", "as KEY=VALUE: data.batch_size=8, task.dropout=0.1"),
        ("--batch_size", "data.batch_size=…"),
        ("--backbon x", "--backbon (did you mean '--backbone'?)"),
    ],
)
def test_an_option_that_is_none(typed: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "digits", *typed.split()])
    assert said in capsys.readouterr().err


def test_a_list_without_quotes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "digits", "--backbone", "resnet50", "phases=[{trainable:", "head,", "epochs:", "1}]"])
    assert "quote a list: phases='[{trainable: head, epochs: 1}]'" in capsys.readouterr().err
    for words in (["phases=[{trainable:", "head,", "1}]"], ["--backbone", "resnet50", "phases=[{trainable: head}"]):
        assert main(["check", "digits", *words]) == 2
        assert "close it, and quote it where it holds blanks: phases='[…]'" in capsys.readouterr().err


def test_no_job_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "check", "select", "lr-find", "sweep", "compare"):
        assert main([command]) == 2
        assert f"name a .yaml config, a folder of images or a table of texts; `tfl {command} --help`" in capsys.readouterr().err


def test_a_command_misspelt(capsys: pytest.CaptureFixture[str]) -> None:
    for words, near in ((["trian"], "train"), (["list", "backbnes"], "backbones")):
        with pytest.raises(SystemExit):
            main(words)
        assert f"(did you mean {near!r}?)" in capsys.readouterr().err


def test_a_run_goes_on_by_its_own_config(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    with pytest.raises(Broken):
        run(photos, out, tmp_path / "cache", 2)
    capsys.readouterr()
    assert main(["train", "--resume", "--out", str(out)]) == 0
    assert "going on from a checkpoint" in capsys.readouterr().out
    assert main(["train", "--resume", "--out", str(out)]) == 2
    assert f"--resume: {out} holds no unfinished run" in capsys.readouterr().err
    shutil.rmtree(out)
    assert main(["train", "--out", str(out)]) == 2
    assert "name a .yaml config" in capsys.readouterr().err


# --- types in Python --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Phase, {"learning_rate": "1e-3"}, "learning_rate: '1e-3' is not valid; a number"),
        (Phase, {"epochs": 2.5}, "epochs: 2.5 is not valid; a whole number"),
        (Phase, {"epochs": True}, "epochs: True is not valid; a whole number"),
        (Phase, {"warmup": None}, "warmup: None is not valid; a number"),
        (Phase, {"ema": "0.9"}, "ema: '0.9' is not valid; a number, or null"),
        (Phase, {"learning_rate": float("inf")}, "learning_rate: inf is not valid; above 0"),
        (Last, {"last": "2"}, "last: '2' is not valid; a whole number"),
        (Lora, {"lora": [4]}, r"lora: [4] is not valid; a whole number"),
    ],
)
def test_a_phase_of_wrong_types(kind: Any, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        kind(**fields)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("trainable", "said"),
    [
        ({"lora": 4, "last": 1}, "phases.0.trainable: lora and last exclude each other; give one of them"),
        ({"last": "two"}, "phases.0.trainable.last: 'two' is not valid; a whole number"),
        ({"last": 0}, "phases.0.trainable.last: 0 is not valid; at least 1 block"),
        ({"lst": 1}, "phases.0.trainable.lst: unknown key; did you mean phases.0.trainable.last?"),
        ({"last": 1, "x": 2}, "phases.0.trainable.x: unknown key; valid keys: last, lora"),
        ({}, "phases.0.trainable.last: missing; it has no default"),
    ],
)
def test_what_trains_is_one_of_several_mappings(trainable: dict[str, Any], said: str) -> None:
    raw = {"data": {"source": "digits"}, "backbone": {"name": "resnet50"}, "phases": [{"trainable": trainable}]}
    with pytest.raises(UserError) as error:
        config_of(raw)
    assert str(error.value).startswith(said)
    assert not trainable or "\n" not in str(error.value)


def test_keys_of_several_sources_do_not_hide_that_none_is_named() -> None:
    with pytest.raises(UserError, match=r"^data\.source: missing"):
        config_of({"data": {"path": "x", "text": "t", "image_key": "i"}, "backbone": {"name": "resnet50"}})


@pytest.mark.parametrize("weight", [-1, 0, float("inf"), float("nan")])
def test_a_weight_of_a_class_is_above_0(weight: float) -> None:
    raw = {"data": {"source": "digits"}, "backbone": {"name": "resnet50"}, "task": {"class_weight": {"3": weight}}}
    with pytest.raises(UserError, match=r"^task\.class_weight\.3: .* is not valid; above 0$"):
        config_of(raw)


def test_a_phase_of_numpy_numbers() -> None:
    import numpy as np

    assert Phase(learning_rate=np.float32(0.5), epochs=np.int64(2), clip_norm=None, layer_decay=1).epochs == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": [0, 1]}, "seeds: [0, 1] is not valid; how many, a whole number"),
        ({"seeds": None}, "seeds: None is not valid"),
        ({"updates": "4"}, "updates: '4' is not valid"),
        ({"budget": "60"}, "budget: '60' is not valid; seconds, a number"),
        ({"labels": 0}, "labels: '0' is not valid"),
        ({"endpoint": 10}, "endpoint: '10' is not valid"),
    ],
)
def test_a_comparison_of_wrong_types(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        plan(**options)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("words", "message", "said"),
    [
        (["export", "runs/a"], "max_loss: 2 is not valid", "--max-loss: 2 is not valid"),
        (["export", "runs/a"], "quantize int8: it is not there", "--quantize int8: it is not there"),
        (["lr-find", "digits"], "lowest, highest: 1 to 0 is no range", "--lowest, --highest: 1 to 0 is no range"),
        (["train", "digits"], "out: it is there", "--out: it is there"),
        (["train", "digits"], "seed: -1 is not valid\nout: a", "seed: -1 is not valid\n--out: a"),
        (["evaluate", "runs/a"], "text: no such column", "--text: no such column"),
        (["evaluate", "runs/a"], "a.csv: text: no such column", "a.csv: text: no such column"),
    ],
)
def test_an_argument_is_called_as_it_was_typed(words: list[str], message: str, said: str) -> None:
    assert as_typed(whole().parse_args(words), message) == said


def test_a_sweep_of_wrong_types(tmp_path: Path) -> None:
    space: Any = ["task.dropout"]
    with pytest.raises(UserError, match="a mapping of keys to their values"):
        tfl.sweep("digits", space, backbone="mobilenet_v2", out=tmp_path / "s")
