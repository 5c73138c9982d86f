"""A page and its pictures as files: when they are written, and what a run says where they cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from tests.reporting import make
from tfl import backbones, reporting
from tfl.cli import main
from tfl.config import UserError
from tfl.reporting import figures


def test_pictures_become_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(80, 20))
    assert main(["report", str(folder), "--plots", str(tmp_path / "plots"), "--out", str(tmp_path / "p.html")]) == 0
    out = capsys.readouterr().out
    assert "test accuracy 0.800" in out, "the terminal's summary stays"
    names = {"standing", "curve-loss", "curve-accuracy", "confusion", "reliability", "cost"}
    files = {file.name for file in (tmp_path / "plots").iterdir()}
    assert files == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert "#a1b2" not in (tmp_path / "plots" / "confusion.svg").read_text(), "files have colours of their own"
    assert (tmp_path / "p.html").is_file()
    assert not (folder / "report.html").exists()


# --- without the extra, or with a fault -------------------------------------------------------------------------------


def test_without_what_draws_a_run_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: Any) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(8, 2))
    monkeypatch.setattr(reporting, "find_spec", lambda name: None)
    said: list[str] = []
    no_pages(folder, said.append)
    assert said == [
        f"no report.html: pip install '.[report]' in the clone of tfl brings what draws it, then `tfl report {folder}`"
    ]
    assert not (folder / "report.html").exists()
    with pytest.raises(UserError, match=r"pip install '\.\[report\]'"):
        reporting.write(folder)


def test_a_fault_of_the_page_does_not_end_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_pages: Any) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(8, 2))
    monkeypatch.setattr(figures, "confusion", lambda *_: 1 / 0)
    said: list[str] = []
    no_pages(folder, said.append)
    assert said == [f"no report.html: ZeroDivisionError: division by zero; try again: `tfl report {folder}`"]
    assert [file.name for file in folder.iterdir() if "html" in file.name] == []


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "not the directory of a finished run or comparison" in capsys.readouterr().err


# --- a run that tfl makes ---------------------------------------------------------------------------------------------


def test_a_run_ends_with_its_page(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_pages: Any
) -> None:
    monkeypatch.setattr(backbones, "load", lambda config: tiny.backbone())
    monkeypatch.setattr(reporting, "attempt", no_pages)
    run = tmp_path / "run"
    words = ["train", str(photos), "--backbone", "mobilenet_v2", "augment=null", "features=null", "checkpoints=null"]
    assert main([*words, "phases=[{epochs: 2, learning_rate: 0.01}]", "--out", str(run)]) == 0
    assert f"page: {run / 'report.html'}" in capsys.readouterr().out
    text = (run / "report.html").read_text(encoding="utf-8")
    assert f"tfl compare {run / 'config.yaml'} --out {run / 'compare'}" in text
    assert "test accuracy, 95 % interval" in text
    wrong = sum(row.split(",")[1] != row.split(",")[2] for row in (run / "predictions.csv").read_text().splitlines()[1:])
    assert text.count("<img src=") == min(wrong, 12)
