"""Predictions of many rows: in parts, in order, and the same whether or not the process was killed on the way."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tfl
from tfl import Phase, predictions
from tfl.cli import main
from tfl.config import UserError
from tfl.data.given_files import GivenFiles
from tfl.jobs import inputs_of_files


@pytest.fixture(scope="module")
def run(calls: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tfl.finetune(
        str(calls),
        backbone=str(tiny_bert),
        phases=[Phase(epochs=1)],
        data={"label": "tone"},
        out=tmp_path_factory.mktemp("many") / "run",
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """25 texts, of which three are none; the parts of ten have none, two and one, and all of the last part are bad."""
    texts = [f"sales rose {number} this year" for number in range(25)]
    for place in (12, 13, 20, 21, 22, 23, 24):
        texts[place] = ""
    pd.DataFrame({"text": texts, "number": range(25)}).to_csv(tmp_path / "new.csv", index=False)
    return tmp_path / "new.csv"


def examples(run: Any, table: Path) -> Any:
    return inputs_of_files(run, [str(table)], {})


def test_the_parts_are_what_is_predicted_at_once(run: Any, table: Path, tmp_path: Path) -> None:
    given = examples(run, table)
    whole = run.predict(given.whole())
    moved: list[int] = []
    for name, read in (
        ("out.csv", pd.read_csv),
        ("out.jsonl", lambda file: pd.read_json(file, lines=True)),
        ("out.parquet", pd.read_parquet),
    ):
        assert predictions.write(run, given, tmp_path / name, moved=moved.append, part=10) == 7
        found = read(tmp_path / name)
        assert list(found.columns) == list(whole.columns)
        found = found.where(found.notna(), None)
        pd.testing.assert_frame_equal(
            found.fillna(""), whole.where(whole.notna(), None).fillna(""), check_dtype=False, atol=1e-6
        )
    assert moved == [10, 10, 5] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.csv", "out.csv", "out.jsonl", "out.parquet"]


def test_a_carriage_return_in_a_text_ends_no_row(run: Any, tmp_path: Path) -> None:
    rows = [{"text": text} for text in ("sales\rrose", 'costs "fell"', "a\nlittle")]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    predictions.write(run, examples(run, tmp_path / "new.jsonl"), tmp_path / "out.csv")
    assert pd.read_csv(tmp_path / "out.csv")["text"].tolist() == [row["text"] for row in rows]
    with (tmp_path / "out.csv").open(newline="") as opened:
        assert len(list(csv.reader(opened))) == 4


def test_two_at_once_do_not_take_the_parts_from_one_another(run: Any, table: Path, tmp_path: Path) -> None:
    given, out = examples(run, table), tmp_path / "out.csv"

    def meanwhile(rows: int) -> None:
        with pytest.raises(UserError, match=r"another process is writing .*out.csv just now"):
            predictions.write(run, given, out, part=10)

    assert predictions.write(run, given, out, moved=meanwhile, part=10) == 7
    assert len(pd.read_csv(out)) == 25


def test_a_killed_one_goes_on(run: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, out = examples(run, table), tmp_path / "out.csv"
    predictions.write(run, given, tmp_path / "whole.csv", part=10)
    original, calls = type(run).predict, []

    def dies(self: Any, part: Any) -> Any:
        calls.append(len(part.ids))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, part)

    monkeypatch.setattr(type(run), "predict", dies)
    with pytest.raises(KeyboardInterrupt):
        predictions.write(run, given, out, part=10)
    assert not out.exists()
    said: list[str] = []
    predictions.write(run, given, out, said.append, part=10)
    assert said == ["going on behind the first 10 rows"]
    assert calls == [10, 10, 10]  # the first part was not predicted again; in the last one there is nothing to predict
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_process_that_is_killed_leaves_what_it_has_done(run: Any, tmp_path: Path) -> None:
    texts = ["sales rose" if number % 7 else "" for number in range(400)]
    pd.DataFrame({"text": texts, "number": range(400)}).to_csv(tmp_path / "new.csv", index=False)
    given, out = examples(run, tmp_path / "new.csv"), tmp_path / "out.csv"
    predictions.write(run, given, tmp_path / "whole.csv", part=10)
    code = (
        "import sys, tfl; from pathlib import Path; from tfl import predictions, jobs; run = tfl.load(sys.argv[1]); "
        "predictions.write(run, jobs.inputs_of_files(run, sys.argv[2:3], {}), Path(sys.argv[3]), part=10)"
    )
    command = [sys.executable, "-c", code, str(run.directory), str(tmp_path / "new.csv"), str(out)]
    with subprocess.Popen(command) as process:
        while not (tmp_path / ".out.csv.parts" / "000002.parquet").exists():
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
    assert not out.exists()
    said: list[str] = []
    assert predictions.write(run, given, out, said.append, part=10) == 58
    assert "going on behind" in said[0]
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_bad_row_is_an_error_of_that_row_alone(run: Any, tmp_path: Path) -> None:
    tables = {
        "new.csv": ('text,n\nsales rose,1\n"one, two",2,3\n\n"a\nb",4\ncosts fell\n', ["2", "3", "5", "7"], "3 cells"),
        "new.jsonl": ('{"n": 1}\n{"text": "sales rose"}\n{"text": \n[1]\n', ["1", "2", "3", "4"], "not JSON"),
    }
    for name, (content, lines, reason) in tables.items():
        (tmp_path / name).write_text(content)
        out = tmp_path / f"{name}.out.csv"
        failed = predictions.write(run, examples(run, tmp_path / name), out, part=2)
        found = pd.read_csv(out)
        assert found["id"].tolist() == [f"{name}:{line}" for line in lines]
        assert found["error"].notna().sum() == failed == found["predicted"].isna().sum()
        assert any(reason in str(error) for error in found["error"])
    (tmp_path / "open.csv").write_text('text\nsales rose\n"costs fell\nwe saw\n')
    with pytest.raises(UserError, match=r"line 3: .*is a quote not closed"):
        len(examples(run, tmp_path / "open.csv"))


def test_other_inputs_begin_anew(run: Any, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, out = examples(run, table), tmp_path / "out.csv"
    with monkeypatch.context() as patched:
        patched.setattr(predictions, "_assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            predictions.write(run, given, out, part=10)
    said: list[str] = []
    shorter = tmp_path / "shorter.csv"
    pd.read_csv(table).head(12).to_csv(shorter, index=False)
    predictions.write(run, examples(run, shorter), out, said.append, part=10)
    assert said == []
    assert len(pd.read_csv(out)) == 12


def test_an_image_that_was_written_anew_is_another_input(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos / "dark", tmp_path / "new")
    (tmp_path / "new.csv").write_text("image\nnew/00.png\nnew/gone.png\n")

    def digests() -> list[str]:
        return [GivenFiles([str(one)], "image", False, {}).digest for one in (folder, tmp_path / "new.csv")]

    before = digests()
    assert digests() == before
    (folder / "00.png").write_bytes((photos / "bright" / "00.png").read_bytes())
    assert [one == other for one, other in zip(digests(), before, strict=True)] == [False, False]


@pytest.mark.parametrize("name", ["run.json", "preprocess/new.json"])
def test_a_run_that_was_changed_is_another_run(name: str, run: Any, tmp_path: Path) -> None:
    other = tfl.load(shutil.copytree(run.directory, tmp_path / "run"))
    assert predictions._of_run(other) == predictions._of_run(run)
    with (tmp_path / "run" / name).open("a") as file:
        file.write(" ")
    assert predictions._of_run(other) != predictions._of_run(run)


def test_the_command(run: Any, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "below" / "out.parquet"
    assert main(["predict", str(run.directory), str(table), "--out", str(out)]) == 0
    assert "25 predictions, 7 of them an error" in capsys.readouterr().out
    assert len(pd.read_parquet(out)) == 25
    assert main(["predict", str(run.directory), str(table), "--out", str(tmp_path / "out.xlsx")]) == 2
    assert ".csv, .jsonl, .parquet" in capsys.readouterr().err


def test_a_folder_is_read_without_what_is_hidden(photos: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(photos / "dark", tmp_path / "new")
    for name in (".Trash/a.png", "__MACOSX/b.png", "._00.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "00.png", folder / name)
    given = GivenFiles([str(folder)], "image", False, {}).whole()
    assert given.ids == [str(path) for path in sorted(folder.glob("[!._]*.png"))]


def test_texts_by_standard_input(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def says(typed: str, *words: str) -> int:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(typed.encode())))
        return main(["predict", str(run.directory), *words])

    (tmp_path / "new.txt").write_text("sales rose\n\ncosts fell\n")
    assert says("sales rose\n\ncosts fell\n", "-") == 0
    shown = capsys.readouterr().out
    assert main(["predict", str(run.directory), str(tmp_path / "new.txt")]) == 0
    assert shown.replace("stdin.txt:", "new.txt:") == capsys.readouterr().out
    assert says("sales rose", "-", str(tmp_path / "new.txt"), "--out", str(tmp_path / "out.csv")) == 0
    assert pd.read_csv(tmp_path / "out.csv")["id"].tolist() == ["stdin.txt:1", "new.txt:1", "new.txt:2", "new.txt:3"]
    assert says("", "-") == 2
    assert "nothing came in by standard input; a text a line" in capsys.readouterr().err
    assert says("", "sales rose") == 2
    assert "sales rose: no such file; a text itself comes by standard input" in capsys.readouterr().err
    assert says("", str(tmp_path / "my new.csv")) == 2
    assert "standard input: echo" not in capsys.readouterr().err


def test_nothing_is_overwritten(run: Any, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = table.read_bytes()
    assert main(["predict", str(run.directory), str(table), "--out", str(table)]) == 2
    assert f"--out: {table} is there already; name another file, or remove it" in capsys.readouterr().err
    assert table.read_bytes() == before


def test_nothing_that_can_be_read(run: Any, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("text,number\n,1\n,2\n")
    with pytest.raises(UserError, match="no example could be read"):
        predictions.write(run, examples(run, tmp_path / "new.csv"), tmp_path / "out.csv")
    assert not list(tmp_path.glob(".out*"))
