"""The store on disk: whole files or none, found again by their ids, checked, shared between processes, kept to a budget."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from tfl import sealed
from tfl.config import UserError
from tfl.features import shard
from tfl.features.store import Entry, Store


def ids(*numbers: int) -> np.ndarray:
    return np.array([f"{number:032x}" for number in numbers], "S32")


def values(*numbers: int) -> np.ndarray:
    """A row of 5 floats for each number."""
    return np.asarray(numbers, np.float32)[:, None] + np.arange(5, dtype=np.float32) / 10


def entry(root: Path) -> Entry:
    return Store(root).entry("k", {"up_to": "block"})


def put(one: Entry, *numbers: int) -> None:
    with one.filling(lambda: None):
        one.write(ids(*numbers), {"frozen_0": values(*numbers)}, None)


def test_a_shard_is_written_under_its_content_and_read_back(tmp_path: Path) -> None:
    rows = [np.full((length, 3), length, np.float32) for length in (2, 1, 4)]
    half = np.arange(3).astype(ml_dtypes.bfloat16)
    columns = {"frozen_0": rows, "frozen_1": half, "frozen_2": values(1, 2, 3)}
    path = shard.write(tmp_path, ids(1, 2, 3), columns, np.array([2, 1, 4]))
    sealed.check(path)
    found = shard.read(path)
    assert found.ids.tolist() == ids(1, 2, 3).tolist()
    assert found.starts.tolist() == [0, 2, 3, 7]
    assert found.columns["frozen_0"].ragged
    assert found.columns["frozen_0"].row == (3,)
    assert found.columns["frozen_1"].dtype == "bfloat16"
    data = path.read_bytes()
    column = found.columns["frozen_0"]
    second = np.frombuffer(data, np.float32, 3, column.offset + 2 * column.step)
    assert second.tolist() == [1, 1, 1]
    again = shard.write(tmp_path, ids(1, 2, 3), columns, np.array([2, 1, 4]))
    assert again == path
    assert again.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no draft is left"


def test_safetensors_reads_a_shard(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    path = shard.write(tmp_path, ids(1, 2), {"frozen_0": values(1, 2)}, None)
    np.testing.assert_array_equal(load_file(path)["frozen_0"], values(1, 2))


def test_rows_are_found_wherever_they_are(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 5, 3)
    put(one, 4, 9)
    place = one.find(ids(3, 4, 7, 5))
    assert (place.shard >= 0).tolist() == [True, True, False, True]
    assert place.row.tolist()[0] == 1
    assert place.row.tolist()[3] == 0
    assert place.shard[0] == place.shard[3] != place.shard[1]


def test_places_stay_when_another_process_adds_shards(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 1, 2)
    before = one.find(ids(1, 2))
    for number in range(3, 9):  # whose names sort before and after
        put(entry(tmp_path), number)
    one.refresh()
    after = one.find(ids(1, 2))
    assert before.shard.tolist() == after.shard.tolist()
    assert (one.find(ids(*range(3, 9))).shard >= 0).all()


@pytest.mark.parametrize("place", [3, 60, -1], ids=["length of the header", "header", "last value"])
def test_a_flipped_bit_is_found_and_its_file_goes(tmp_path: Path, place: int) -> None:
    one = entry(tmp_path)
    put(one, 1, 2)
    put(one, 3)
    broken = one.shards[0].path
    data = bytearray(broken.read_bytes())
    data[place] ^= 1
    broken.write_bytes(data)
    again = entry(tmp_path)
    assert (again.find(ids(1, 2, 3)).shard >= 0).tolist() == [False, False, True]
    assert again.damaged == 1
    assert not broken.exists()


def test_only_files_whose_rows_are_wanted_are_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(tmp_path)
    put(one, 1, 2)
    put(one, 3)
    put(one, 4)
    checked: list[Path] = []
    check = sealed.check
    monkeypatch.setattr(sealed, "check", lambda path: checked.append(path) or check(path))  # type: ignore[func-returns-value]
    again = entry(tmp_path)
    place = again.find(ids(3, 4, 7))
    again.find(ids(4, 3))
    assert sorted(checked) == sorted(again.shards[number].path for number in place.shard[:2])


def test_numbers_of_places_stay_when_a_damaged_file_goes(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 1)
    put(one, 2)
    put(one, 3)
    again = entry(tmp_path)
    broken = again.shards[1].path
    with broken.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    rows = {int(part.ids[0], 16): number for number, part in enumerate(again.shards)}
    lost = int(again.shards[1].ids[0], 16)
    kept = [number for number in (1, 2, 3) if number != lost]
    before = again.find(ids(*kept)).shard.tolist()
    assert again.find(ids(lost)).shard.tolist() == [-1]
    assert before == again.find(ids(*kept)).shard.tolist() == [rows[number] for number in kept]
    put(again, lost)
    assert again.find(ids(lost)).shard.tolist() == [3]


def test_a_file_that_another_process_removed_is_not_one_that_is_damaged(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 1)
    again = entry(tmp_path)
    again.shards[0].path.unlink()
    assert again.find(ids(1)).shard.tolist() == [-1]
    assert again.damaged == 0


def test_a_file_cut_short_is_found(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 1)
    path = one.shards[0].path
    os.truncate(path, path.stat().st_size - 4)
    again = entry(tmp_path)
    assert again.find(ids(1)).shard.tolist() == [-1]
    assert again.damaged == 1


def test_a_file_that_cannot_be_read_now_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(tmp_path)
    put(one, 1)
    path = one.shards[0].path

    def refused(path: Path) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sealed, "check", refused)
    again = entry(tmp_path)
    with pytest.raises(OSError, match="Too many open files"):
        again.find(ids(1))
    assert path.exists()


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = entry(tmp_path)
    put(one, 1)
    there = sorted(os.listdir(one.folder))

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        put(one, 2)
    assert sorted(os.listdir(one.folder)) == there


def test_the_draft_of_a_killed_process_goes_with_the_next_filling(tmp_path: Path) -> None:
    one = entry(tmp_path)
    put(one, 1)
    draft = one.folder / f".abc-def{shard.SUFFIX}.4711"
    draft.write_bytes(b"half")
    assert len(entry(tmp_path).shards) == 1
    put(one, 2)
    assert not draft.exists()


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    one = entry(tmp_path)
    assert one.find(ids(1)).shard.tolist() == [-1]
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys, time
from pathlib import Path
from tests.features.test_store import entry, put
one = entry(Path(sys.argv[1]))
with one.filling(lambda: None):
    print("holding", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def hold(root: Path, seconds: float) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(root), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    return process


def test_who_fills_is_alone_and_the_others_wait(tmp_path: Path) -> None:
    process = hold(tmp_path, 1.0)
    waited: list[str] = []
    start = time.monotonic()
    with entry(tmp_path).filling(lambda: waited.append("yes")):
        assert time.monotonic() - start > 0.5
    assert waited == ["yes"]
    process.wait()


def test_a_killed_filler_holds_nobody_up(tmp_path: Path) -> None:
    process = hold(tmp_path, 60.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with entry(tmp_path).filling(lambda: pytest.fail("it waits for a dead process")):
        pass


def three(root: Path, budget: float | str) -> Store:
    """A store of three entries, `k0` used least recently."""
    store = Store(root, budget)
    for number in range(3):
        one = store.entry(f"k{number}", {"up_to": "block"})
        put(one, number)
        os.utime(one.folder / "about.json", (number, number))
        one.close()
    return store


def test_the_budget_lets_the_oldest_go_first(tmp_path: Path) -> None:
    each = three(tmp_path / "a", 0.5).infos()[0].bytes
    store = three(tmp_path / "b", f"{3 * each}B")
    assert store.fits(3 * each)
    assert not store.fits(4 * each)
    store.make_room(each)
    assert [info.key for info in store.infos()] == ["k2", "k1"]


def test_a_budget_in_words_is_no_more_than_the_disk_has(tmp_path: Path) -> None:
    store = Store(tmp_path, "900000TB")
    assert store.room() <= shutil.disk_usage(tmp_path).total
    assert not store.fits(10**18)


def test_what_is_in_use_stays(tmp_path: Path) -> None:
    each = three(tmp_path / "a", 0.5).infos()[0].bytes
    store = three(tmp_path / "b", f"{3 * each}B")
    used = store.entry("k0", {})
    os.utime(used.folder / "about.json", (0, 0))
    assert store.fits(2 * each)
    assert not store.fits(3 * each)
    store.make_room(each)
    assert [info.key for info in store.infos()] == ["k2", "k0"]
    used.close()
    assert store.remove("k0")


def test_entries_are_named_by_the_beginning_of_their_key(tmp_path: Path) -> None:
    store = three(tmp_path, 0.5)
    assert [info.key for info in store.named(["k1"])] == ["k1"]
    assert len(store.named(["k"])) == 3
    with pytest.raises(UserError, match="'x' is not the key of an entry"):
        store.named(["k1", "x"])


def test_verify_counts_what_is_whole_and_removes_what_is_not(tmp_path: Path) -> None:
    store = three(tmp_path, 0.5)
    put(store.entry("k1", {}), 7)
    path = next((tmp_path / "k1").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-1])
    assert store.verify("k1") == (1, 1)
    assert store.verify("k1") == (1, 0)
