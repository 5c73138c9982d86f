"""Versions that cannot be loaded, yet or at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tfl.config import UserError
from tfl.serving.shelf import LENGTH, Shelf


class Watched:
    """A bundle with one model, and what its shelf says; nothing looks at it by itself."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, list[str]()

    def open(self) -> Shelf:
        shelf = Shelf(self.folder, self.said.append, every=3600)
        shelf.close()
        return shelf

    def version(self, number: int) -> Path:
        return self.folder / "photos" / str(number)

    def copied_in_part(self, number: int) -> None:
        shutil.copytree(self.version(1), self.version(number), ignore=lambda *_: ["variables"])

    def copy_the_rest(self, number: int) -> None:
        shutil.copytree(self.version(1) / "variables", self.version(number) / "variables")


@pytest.fixture
def watched(image_export: Path, tmp_path: Path) -> Watched:
    shutil.copytree(image_export, tmp_path / "export")
    return Watched(tmp_path / "export")


def served(shelf: Shelf) -> int:
    found = shelf.get("photos")
    assert found is not None
    return found.number


def test_a_version_that_was_copied_in_part_is_tried_again(watched: Watched) -> None:
    shelf = watched.open()
    watched.copied_in_part(2)
    shelf.look()
    shelf.look()
    assert served(shelf) == 1
    assert [line.split(":")[0] for line in watched.said[1:]] == [f"{watched.version(2)} cannot be loaded"]
    watched.copy_the_rest(2)
    shelf.look()
    assert served(shelf) == 2
    assert watched.said[-1] == "serving photos version 2"


def test_at_start_the_newest_that_can_be_loaded_is_served(watched: Watched) -> None:
    watched.copied_in_part(2)
    shelf = watched.open()
    assert served(shelf) == 1
    assert watched.said[-1] == "serving photos version 1, the newest that can be loaded"
    watched.copy_the_rest(2)
    shelf.look()
    assert served(shelf) == 2


def test_none_older_is_loaded_while_one_is_served(watched: Watched) -> None:
    shutil.copytree(watched.version(1), watched.version(2))
    shelf = watched.open()
    watched.copied_in_part(3)
    shutil.rmtree(watched.version(2))
    shelf.look()
    assert served(shelf) == 2  # it is gone, and in memory; version 3 may still come
    shutil.rmtree(watched.version(3))
    shelf.look()
    assert served(shelf) == 1


def test_where_nothing_can_be_loaded_each_is_named(watched: Watched) -> None:
    watched.copied_in_part(2)
    shutil.rmtree(watched.version(1) / "variables")
    with pytest.raises(UserError) as caught:
        watched.open()
    assert all(f"{watched.version(number)} cannot be loaded" in str(caught.value) for number in (1, 2))


def test_a_part_of_a_bundle_is_told_from_it(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(watched.folder.parent)
    for part in (Path("export/photos"), Path("export/photos/1"), watched.version(1)):
        with pytest.raises(UserError, match="a part of one") as caught:
            Shelf(part, watched.said.append)
        assert f"`tfl serve {os.path.realpath(watched.folder)}`" in str(caught.value)


def test_how_long_a_text_may_be(text_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    shutil.copytree(text_export, folder)
    longest = []
    for _ in range(2):
        shelf = Watched(folder).open()
        found = shelf.get("calls")
        assert found is not None
        longest.append(found.length)
        shutil.rmtree(folder / "calls" / "1" / "evidence", ignore_errors=True)  # as in an export made before it was noted
    assert longest == [24, LENGTH]
