"""Files that a power cut or a full disk has cut short, and a directory that another process was faster to fill."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import tfl
from tfl import Phase
from tfl.config import UserError
from tfl.features.shard import SUFFIX
from tfl.features.store import Store
from tfl.methods import finetune
from tfl.studies.compare import trial
from tfl.studies.folder import claimed
from tfl.studies.sweep.journal import Journal, Trial
from tfl.studies.sweep.space import given

SMALL: dict[str, Any] = {
    "backbone": {"name": "mobilenet_0.25", "weights": "none", "image_size": 32},
    "data": {"batch_size": 8},
    "phases": [Phase(epochs=1)],
}


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged")
    return tfl.finetune(str(photos), out=folder / "run", **SMALL).directory


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def cut(file: Path, count: int = 40) -> None:
    file.write_bytes(file.read_bytes()[:-count])


@pytest.mark.parametrize("name", ["model.keras", "examples.tfrecord"])
def test_a_damaged_file_of_a_run_is_named(run: Path, name: str) -> None:
    cut(run / name)
    with pytest.raises(UserError, match=rf"{name} is damaged or not there; copy the run again"):
        tfl.load(run).evaluate()


def test_damaged_digests_of_what_was_trained_on_are_named(run: Path, photos: Path) -> None:
    cut(run / "seen.npy")
    with pytest.raises(UserError, match=r"seen.npy is damaged; without it"):
        tfl.load(run).evaluate(str(photos))


def test_a_run_that_another_process_finished_meanwhile_is_not_written_over(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, load = tmp_path / "run", finetune.load

    def slow(*given: Any) -> Any:
        monkeypatch.undo()
        tfl.finetune(str(photos), out=out, seed=1, **SMALL)
        return load(*given)

    monkeypatch.setattr(finetune, "load", slow)
    with pytest.raises(UserError, match=r"holds a run that another process has just finished; name a new directory"):
        tfl.finetune(str(photos), out=out, seed=2, **SMALL)
    assert tfl.load(out).report.config["seed"] == 1
    assert not (out / "checkpoints").exists()


@pytest.fixture
def store(photos: Path, tmp_path: Path) -> Store:
    """A store of one entry, which a run has filled."""
    tfl.finetune(str(photos), out=tmp_path / "run", features={"directory": str(tmp_path / "cache")}, **SMALL)
    return Store(tmp_path / "cache")


@pytest.mark.parametrize("place", [3, 5, 7])
def test_a_shard_whose_first_bytes_are_damaged_is_computed_again(
    store: Store, place: int, photos: Path, tmp_path: Path
) -> None:
    for file in store.root.glob(f"*/*{SUFFIX}"):
        content = bytearray(file.read_bytes())
        content[place] = 128
        file.write_bytes(content)
    again = tfl.finetune(str(photos), out=tmp_path / "again", features={"directory": str(store.root)}, **SMALL)
    assert again.report.phases[0].features["computed"] == 34


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_an_entry_without_its_note_is_counted_cleared_and_noted_again(
    store: Store, content: str, photos: Path, tmp_path: Path
) -> None:
    entries = {info.key: info.bytes for info in store.infos()}
    for key in entries:
        (store.root / key / "about.json").write_text(content)
    assert {info.key: info.bytes for info in store.infos()} == entries
    tfl.finetune(str(photos), out=tmp_path / "again", features={"directory": str(store.root)}, **SMALL)
    assert any(info.about for info in store.infos())
    gc.collect()  # what is in use stays
    assert all(map(store.remove, entries))
    assert store.infos() == []


def test_a_journal_that_ends_within_a_line_loses_that_trial_alone(tmp_path: Path) -> None:
    space = given({"task.dropout": [0.1, 0.2, 0.3]})
    file = tmp_path / "journal.log"
    trials = [Trial(number=n, values={"task.dropout": n / 10}, score=0.5, loss=1.0, seconds=1.0) for n in (1, 2, 3)]
    journal = Journal(file, space, 0, maximize=True)
    for one in trials:
        journal.add(one)
    cut(file)
    again = Journal(file, space, 0, maximize=True)
    assert len(again.trials()) == 2
    again.add(trials[2])
    assert [one.values for one in Journal(file, space, 0, maximize=True).trials()] == [trial.values for trial in trials]


def test_a_study_whose_question_is_damaged_is_named(tmp_path: Path) -> None:
    with claimed(tmp_path / "study", "declared.json", {"seed": 0}, "comparison"):
        pass
    (tmp_path / "study" / "declared.json").write_text("")
    with (
        pytest.raises(UserError, match=r"declared.json is damaged"),
        claimed(tmp_path / "study", "declared.json", {"seed": 0}, "comparison"),
    ):
        pass


def test_a_trial_of_a_comparison_that_is_damaged_is_trained_again(tmp_path: Path) -> None:
    file = trial.place(tmp_path, "head", 5, 0)
    file.write_text('{"method": "he')
    assert trial.read(file, "", ()) is None


def test_no_file_of_the_store_stays_open_behind_a_run(store: Store) -> None:
    """Else the room that is made by removing it would not be free."""
    gc.collect()
    names = [os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and entry.exists()]
    assert not [name for name in names if name.startswith(str(store.root)) and name.endswith(SUFFIX)]
