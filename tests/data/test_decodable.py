"""An image is decoded once to see that it can be read; what is remembered of it never changes what is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.data.make import png, write_folder, write_records, write_tfds
from tfl import cli, data
from tfl.data import decodable, scan

COUNT = 24


def folder(path: Path) -> data.AnyConfig:
    write_folder(path, {"ant": COUNT // 2, "bee": COUNT // 2})
    return data.folder.Config(path=str(path))


def paths_in_a_table(path: Path) -> data.AnyConfig:
    folder(path)
    names = sorted(one.relative_to(path).as_posix() for one in path.rglob("*.png"))
    pd.DataFrame({"image": names, "label": [name.split("/")[0] for name in names]}).to_csv(path / "t.csv", index=False)
    return data.table.Config(path=str(path / "t.csv"), image="image", label="label")


def encoded_in_a_table(path: Path) -> data.AnyConfig:
    path.mkdir()
    rows = [{"image": {"bytes": png(place), "path": None}, "label": place % 2} for place in range(COUNT)]
    pd.DataFrame(rows).to_parquet(path / "t.parquet")
    return data.table.Config(path=str(path / "t.parquet"), image="image", label="label")


def records(path: Path) -> data.AnyConfig:
    write_records(path / "a.tfrecord", [{"image": png(place), "label": place % 2} for place in range(COUNT)])
    return data.tfrecord.Config(path=str(path))


def prepared(path: Path) -> data.AnyConfig:
    return data.tfds.Config(name=str(write_tfds(path, "tiny", {"train": COUNT})))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str | bytes]:
    """The images that were decoded so far, with nothing remembered in the beginning."""
    monkeypatch.setenv("TFL_CACHE", str(tmp_path / "cache"))
    found: list[str | bytes] = []
    reason = scan._reason
    monkeypatch.setattr(scan, "_reason", lambda item: found.append(item) or reason(item))
    return found


@pytest.mark.parametrize("make", [folder, paths_in_a_table, encoded_in_a_table, records, prepared])
def test_an_image_is_decoded_once(make: Callable[[Path], data.AnyConfig], decoded: list[str | bytes], tmp_path: Path) -> None:
    config = make(tmp_path / "data")
    first = data.load(config)
    assert len(decoded) == COUNT
    again = data.load(config)
    assert len(decoded) == COUNT
    assert again.fingerprint == first.fingerprint


def test_what_changed_is_decoded_and_what_is_broken_is_named_each_time(decoded: list[str | bytes], tmp_path: Path) -> None:
    config = folder(tmp_path / "data")
    data.load(config)
    file = tmp_path / "data" / "ant" / "03.png"
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    for _ in range(2):
        decoded.clear()
        (bad,) = data.load(config).unreadable
        assert (bad.id, bad.reason, decoded) == ("ant/03.png", "truncated PNG", [str(file)])
    file.write_bytes(whole)
    decoded.clear()
    assert data.load(config).unreadable == ()
    assert not decoded


def test_a_path_that_tensorflow_cannot_open_is_named_though_its_content_is_known(
    decoded: list[str | bytes], tmp_path: Path
) -> None:
    config = folder(tmp_path / "data")
    data.load(config)
    ant = os.fsencode(tmp_path / "data" / "ant")
    os.rename(ant + b"/03.png", ant + b"/caf\xe9.png")
    assert [bad.reason for bad in data.load(config).unreadable] == ["its path is not UTF-8; rename it"]


def test_a_file_that_was_cut_short_costs_one_entry(decoded: list[str | bytes], tmp_path: Path) -> None:
    config = folder(tmp_path / "data")
    data.load(config)
    (file,) = (tmp_path / "cache").glob("decodable-*")
    assert file.stat().st_size == 8 * COUNT
    os.truncate(file, 8 * COUNT - 3)
    for expected in (1, 0):
        decoded.clear()
        data.load(config)
        assert len(decoded) == expected


def test_a_full_memory_begins_anew(decoded: list[str | bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decodable, "LIMIT", COUNT)
    config = folder(tmp_path / "data")
    data.load(config)
    write_folder(tmp_path / "data", {"cow": 12}, seed=500)
    for expected in (COUNT + 12, 2 * (COUNT + 12)):  # the second time there are more than are kept
        data.load(config)
        assert len(decoded) == expected


def test_nothing_can_be_written(decoded: list[str | bytes], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    config = folder(tmp_path / "data")
    assert data.load(config).fingerprint == data.load(config).fingerprint
    assert len(decoded) == 2 * COUNT


def test_clear_all_forgets(decoded: list[str | bytes], tmp_path: Path) -> None:
    config = folder(tmp_path / "data")
    data.load(config)
    assert cli.main(["cache", "clear", "--all"]) == 0
    data.load(config)
    assert len(decoded) == 2 * COUNT
