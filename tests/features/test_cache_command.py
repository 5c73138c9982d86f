"""`tfl cache`, as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.features.test_store import three
from tfl.cli import main
from tfl.features.store import Store


def tfl(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["cache", *words])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_list_and_info(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFL_CACHE", str(tmp_path))
    code, text = tfl(capsys, "list")
    assert code == 0
    assert text.strip() == f"0 B in 0 entries below {tmp_path}"
    three(tmp_path, 0.5)
    code, text = tfl(capsys, "list")
    assert [line.split()[0] for line in text.splitlines()[1:-1]] == ["k2", "k1", "k0"]
    assert "in 3 entries" in text
    code, text = tfl(capsys, "info", "k1")
    assert "rows: 1 in 1 files" in text
    assert "up_to: block" in text


def test_verify_says_what_was_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three(tmp_path, 0.5)
    assert tfl(capsys, "verify", "--directory", str(tmp_path)) == (0, "".join(
        [*(f"{key}  1 files whole\n" for key in ("k2", "k1", "k0")), "all is whole\n"]
    ))  # fmt: skip
    path = next((tmp_path / "k1").glob("*.safetensors"))
    path.write_bytes(b"x" + path.read_bytes()[1:])
    code, text = tfl(capsys, "verify", "--directory", str(tmp_path))
    assert code == 1
    assert "k1  0 files whole, 1 damaged and removed" in text


def test_clear_removes_what_is_named_and_leaves_what_is_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = three(tmp_path, 0.5)
    assert tfl(capsys, "clear", "k1", "--directory", str(tmp_path))[0] == 0
    assert [info.key for info in store.infos()] == ["k2", "k0"]
    assert tfl(capsys, "clear", "--directory", str(tmp_path), "k2")[0] == 0
    assert [info.key for info in store.infos()] == ["k0"]
    used = store.entry("k0", {})
    code, text = tfl(capsys, "clear", "--all", "--directory", str(tmp_path))
    assert code == 1
    assert "in use and left: k0" in text
    assert [info.key for info in store.infos()] == ["k0"]
    used.close()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clear"], "name the keys of the entries to remove"),
        (["clear", "k1", "--all"], "name the keys of the entries to remove"),
        (["list", "--all"], "--all: it goes with clear"),
        (["clear", ""], "'' is not the key of an entry"),
        (["info", "zz"], "'zz' is not the key of an entry"),
    ],
)
def test_mistakes(words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three(tmp_path, 0.5)
    code, text = tfl(capsys, *words, "--directory", str(tmp_path))
    assert code == 2
    assert said in text
    assert len(Store(tmp_path).infos()) == 3
