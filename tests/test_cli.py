"""The command line on small runs: what it prints, where it writes, and its one line about what cannot be done."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tfl
from tfl import Phase, UserError
from tfl.cli import main
from tfl.config import assign, override
from tfl.directory import new_folder

TINY = ["--backbone", "mobilenet_0.25", "--weights", "none", "backbone.image_size=32", "data.batch_size=8"]
HEAD = "phases=[{trainable: head, epochs: 1}]"


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run on images."""
    out = tmp_path_factory.mktemp("run") / "images"
    assert main(["train", str(photos), *TINY, HEAD, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def text_run(calls: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "texts"
    assert main(["train", str(calls), "--backbone", str(tiny_bert), "--label", "tone", HEAD, "--out", str(out)]) == 0
    return out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert main([str(item) for item in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("tfl: ")
    assert "Traceback" not in shown.err
    assert shown.out == "", "it was found too late"
    return shown.err


# --- what is printed --------------------------------------------------------------------------------------------------


def test_predictions_are_a_table_on_standard_output(
    text_run: Path, calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["predict", str(text_run), str(calls)]) == 0
    shown = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(shown["text"]) == list(pd.read_csv(calls)["text"])
    assert list(shown["id"][:2]) == ["calls.csv:2", "calls.csv:3"]
    assert main(["predict", str(text_run), str(calls), "--out", str(tmp_path / "new" / "p.csv")]) == 0
    assert len(pd.read_csv(tmp_path / "new" / "p.csv")) == 60


def test_what_evaluation_skips_is_printed(
    text_run: Path, calls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(calls).rename(columns={"text": "sentence"})
    frame.loc[4, "sentence"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    assert main(["evaluate", str(text_run), str(tmp_path / "new.csv")]) == 0
    assert "skipped new.csv:6: no text in column 'sentence'" in capsys.readouterr().out
    assert "name one" in refused(capsys, "evaluate", text_run, "--label", "tone")
    assert main(["evaluate", str(text_run), "--label", "tone", str(tmp_path / "new.csv")]) == 0
    with pytest.raises(SystemExit):
        main(["evaluate", str(text_run), "--label", "tone", str(tmp_path / "new.csv"), "more"])


def test_a_column_of_image_paths_is_named_like_one_of_texts(photos: Path, tmp_path: Path, capsys: Any) -> None:
    files = sorted(photos.rglob("*.png"))
    rows = pd.DataFrame({"where": map(str, files), "kind": [file.parent.name for file in files]})
    rows.to_csv(tmp_path / "new.csv", index=False)
    given = [str(tmp_path / "new.csv"), "--image", "where"]
    network = ["--backbone", "mobilenet_0.25", "--weights", "none", "backbone.image_size=32", HEAD]
    assert main(["train", *given, "--label", "kind", *network, "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), *given]) == 0
    assert "'which'" in refused(capsys, "evaluate", tmp_path / "run", *given[:-1], "which")


def test_lines_do_not_wrap_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.text import Text

    from tfl.terminal import console

    console().print(Text("word " * 100))
    assert len(capsys.readouterr().out.splitlines()) == 1


# --- where it writes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--out", "--export"])
def test_a_place_to_write_is_tried_before_the_data(
    option: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    elsewhere = ["--out", tmp_path / "run"] if option == "--export" else []
    for place, words in (
        (file, "already holds something"),
        (file / "run", f"{file} is a file"),
        ("/proc/run", "cannot be written"),
    ):
        message = refused(capsys, "train", photos, *TINY, *elsewhere, option, place)
        assert option in message
        assert words in message
    assert file.read_text() == "mine"
    assert not (tmp_path / "run").exists()


def test_an_export_cannot_hold_the_run(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "run"
    assert "folder of its own" in refused(capsys, "train", photos, *TINY, "--out", place, "--export", place)


def test_places_of_exports_and_predictions(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in refused(capsys, "export", run, "--out", file)
    assert "is a file" in refused(capsys, "export", run, "--out", file / "below")
    assert "is a folder; name a file" in refused(capsys, "predict", run, photos, "--out", tmp_path)
    assert "is a file" in refused(capsys, "predict", run, photos, "--out", file / "p.csv")
    with pytest.raises(UserError, match="is a file"):
        tfl.load(run).export(file)


def test_a_failure_of_the_system_is_one_line(
    run: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "p.csv")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert "No space left on device" in refused(capsys, "predict", run, photos / "dark" / "00.png")


@pytest.mark.parametrize("name", ["model.keras", "run.json", "preprocess"])
def test_a_run_that_lacks_a_part(
    name: str, run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    if (copy / name).is_dir():
        shutil.rmtree(copy / name)
    else:
        os.remove(copy / name)
    assert f"{name} is missing" in refused(capsys, "predict", copy, photos)


def test_a_run_with_a_broken_part(run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(run, tmp_path / "copy")
    for content in ("{", "[]", "{}"):
        (copy / "run.json").write_text(content)
        assert "run.json: not what a run leaves there" in refused(capsys, "predict", copy, photos)


def test_texts_in_latin_1(text_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new.txt").write_bytes("früh\n".encode("latin-1"))
    assert "not UTF-8" in refused(capsys, "predict", text_run, tmp_path / "new.txt")


# --- what is given ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["1", "yes", "a: b", "null", "[x]"])
def test_a_column_is_called_what_was_typed(
    label: str, calls: Path, tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfl.methods import METHODS

    seen = []
    monkeypatch.setattr(
        METHODS["finetune"], "run", lambda config, out: seen.append(config) or (_ for _ in ()).throw(UserError("x"))
    )
    pair = ["--text", "no", "--text-pair", "2"]
    main(["train", str(calls), "--backbone", str(tiny_bert), "--label", label, *pair, "--out", str(tmp_path / "run")])
    assert (seen[0].data.label, seen[0].data.text, seen[0].data.text_pair) == (label, "no", "2")


def test_assign_keeps_values_and_override_reads_them() -> None:
    assert assign({"data": {"label": "x"}}, {"data.label": "1e3", "seed": 3}) == {"data": {"label": "1e3"}, "seed": 3}
    assert override({}, ["data.label=1e3"]) == {"data": {"label": 1000.0}}


def test_an_override_of_phases_that_are_not_there(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refused(capsys, "train", photos, *TINY, "phases.1.learning_rate=3e-6", "--out", tmp_path / "run")
    assert "phases.1.learning_rate: this job has no `phases` list to override" in message
    assert "phases='[{trainable: head, epochs: 3}]'" in message
    assert override({}, ["phases=[{epochs: 3}]", "phases.0.epochs=2"]) == {"phases": [{"epochs": 2}]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"label": "tone"}, "label: unknown key; did you mean data.label?"),
        ({"batch_size": 3}, "batch_size: unknown key; did you mean data.batch_size?"),
        ({"pooling": "cls"}, "pooling: unknown key; did you mean backbone.pooling?"),
        ({"dropout": 0.1}, "dropout: unknown key; did you mean task.dropout?"),
        ({"epochs": 3}, "phases=[tfl.Phase(epochs=…)]"),
        ({"phases": Phase(epochs=1)}, "a list of phases"),
        ({"task": "regression"}, "task: {kind: regression}"),
        ({"data": "x.csv"}, "is a dict of fields"),
        ({"sead": 3}, "sead: unknown key; did you mean seed?"),
        ({"data": {"label": "tone", "classes": "x"}}, "data.classes: unknown key here; it goes with source: tfrecord"),
        ({"data": {"label": "text,tone"}}, "data.label='[text, tone]'"),
        (
            {"data": {"label": "tone"}, "backbone": {"name": "minilm", "image_size": 96}},
            "backbone.image_size: it changes nothing",
        ),
        ({"data": {"label": "tone", "resize": "pad"}}, "data.resize: it changes nothing, since this backbone reads texts"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else "",
)
def test_a_field_in_the_wrong_place(fields: dict[str, Any], words: str, calls: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        tfl.finetune(str(calls), out=tmp_path / "run", **{"backbone": "minilm", **fields})
    assert words in str(error.value)


def test_keys_of_the_other_modality_or_kind_are_errors(photos: Path, calls: Path, tiny_bert: Path, tmp_path: Path) -> None:
    images: dict[str, Any] = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32, "sequence_length": 5}
    with pytest.raises(UserError, match=r"backbone.sequence_length: it changes nothing, since this backbone reads images"):
        tfl.finetune(str(photos), backbone=images, out=tmp_path / "run", phases=[Phase(epochs=1)])
    table = pd.read_csv(calls).assign(size=lambda rows: np.arange(len(rows)) / 7)
    with pytest.raises(UserError, match=r"phases.1.label_smoothing: it changes nothing, since a regression has none"):
        tfl.finetune(
            table,
            backbone=str(tiny_bert),
            out=tmp_path / "run",
            data={"label": "size"},
            phases=[Phase(epochs=1), Phase(epochs=1, label_smoothing=0.1)],
        )


def test_a_place_to_write_is_tried_in_python_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    images = np.zeros((4, 32, 32, 3), np.uint8)
    with pytest.raises(UserError, match="is a file"):
        tfl.finetune((images, [0, 1, 0, 1]), backbone="mobilenet_v2", weights="none", out=tmp_path / "file" / "run")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"tfl {tfl.__version__}\n"


def test_a_new_folder_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(3):
        made.append(new_folder("sweep"))
        made[-1].mkdir(parents=True)
    assert len(set(made)) == 3
    assert {path.parent for path in made} == {Path("runs")}
