"""One contract over all sources: each brings tiny real data of its own kind, and all behave alike."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import yaml

import tfl.data as data
from tests.data.make import write_folder, write_shards, write_tfds
from tfl.config import UserError, dump
from tfl.data import SOURCES, Splits
from tfl.validate import validate

WORDS = ["good", "bad"]


def folder(tmp: Path):
    return data.folder.Config(path=str(write_folder(tmp / "photos", {"cat": 12, "dog": 12})))


def table(tmp: Path):
    pd.DataFrame({"text": [f"t {i}" for i in range(24)], "label": WORDS * 12}).to_csv(tmp / "t.csv", index=False)
    return data.table.Config(path=str(tmp / "t.csv"))


def tfds(tmp: Path):
    return data.tfds.Config(name=str(write_tfds(tmp, "pets", {"train": 24})))


def tfrecord(tmp: Path):
    return data.tfrecord.Config(path=str(write_shards(tmp / "shards", {"a-0": 12, "a-1": 12})))


def npz(tmp: Path):
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
    np.savez(tmp / "x.npz", images=images, labels=np.array(WORDS * 12))
    return data.npz.Config(path=str(tmp / "x.npz"))


def digits(tmp: Path):
    return data.digits.Config(max_train=50)


def earnings_calls(tmp: Path):
    return data.earnings_calls.Config(max_train=50)


def memory(tmp: Path):
    return data.memory.Config()


MAKERS = {
    "folder": folder,
    "table": table,
    "tfds": tfds,
    "tfrecord": tfrecord,
    "npz": npz,
    "digits": digits,
    "earnings_calls": earnings_calls,
    "memory": memory,
}


def load(config, seed: int = 0) -> Splits:
    frame = pd.DataFrame({"text": [f"t {i}" for i in range(24)], "label": WORDS * 12})
    return data.load(config, seed, data=frame if config.source == "memory" else None)


@pytest.fixture(params=list(SOURCES))
def config(request: pytest.FixtureRequest, tmp_path: Path):
    return MAKERS[request.param](tmp_path)


def test_every_source_has_one_module_a_config_of_its_name_and_a_line_about_it():
    for name, module in SOURCES.items():
        assert importlib.import_module(f"tfl.data.{name}") is module
        assert module.Config.__dataclass_fields__["source"].default == name
        assert len((module.__doc__ or "").strip().splitlines()[0]) > 20


def test_contract_of_splits(config):
    splits = load(config)
    ids = [name for part in splits.parts.values() for name in part.ids]
    assert len(set(ids)) == len(ids)
    assert all(isinstance(name, str) for name in ids)
    assert len(splits.class_names) >= 2
    assert all(isinstance(name, str) for name in splits.class_names)
    assert splits.modality in ("image", "text")
    for part in splits.parts.values():
        assert len(part) == len(part.ids) == len(part.labels) == len(part.digests) > 0
        assert part.digests.dtype == np.dtype("S32")
        assert part.labels.dtype == np.int64
        assert set(part.labels.tolist()) <= set(range(len(splits.class_names)))
    assert {name: sum(counts.values()) for name, counts in splits.class_counts.items()} == splits.sizes


def test_contract_of_datasets(config):
    splits = load(config)
    part = splits.train
    assert part.dataset(shuffle_seed=1).options().autotune.enabled is False, "it would end late"
    found = {int(example["index"]): example for example in part.dataset(shuffle_seed=1).as_numpy_iterator()}
    assert sorted(found) == list(range(len(part)))
    assert all(found[i]["label"] == part.labels[i] for i in found)
    keys = set(found[0]) - {"index", "label"}
    assert keys <= ({"path", "image"} if splits.modality == "image" else {"text", "text_pair"})


def test_contract_of_repetition(config):
    first, again, other = load(config), load(config), load(config, seed=1)
    assert first.fingerprint == again.fingerprint
    assert first.train.ids.tolist() == again.train.ids.tolist()
    assert first.fingerprint != other.fingerprint


def test_contract_of_configs(config):
    assert validate(type(config), yaml.safe_load(dump(config))) == config
    assert validate(data.AnyConfig, {**yaml.safe_load(dump(config)), "batch_size": 7}).batch_size == 7


def test_importing_the_sources_imports_nothing_heavy():
    code = (
        "import sys, tfl.data; "
        "heavy = {'tensorflow', 'keras', 'pandas', 'sklearn', 'pydantic', 'tensorflow_datasets'} & set(sys.modules); "
        "sys.exit(' '.join(heavy))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr.strip() == ""


def test_an_unknown_source_is_named_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'folder'"):
        data.load(data.DataConfig(source="foldr"))


# --- what a path is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["folder", "table", "tfds", "tfrecord", "npz"])
def test_a_path_tells_its_source(source, tmp_path):
    config = MAKERS[source](tmp_path)
    path = config.name if source == "tfds" else config.path
    raw = data.guess(path)
    assert raw == {"source": source, "name" if source == "tfds" else "path": path}
    assert validate(SOURCES[source].Config, raw) == config


def test_embedded_data_and_the_tfds_catalogue_have_names(tmp_path):
    assert data.guess("digits") == {"source": "digits"}
    assert data.guess("tfds://glue/sst2") == {"source": "tfds", "name": "glue/sst2"}


def test_a_path_that_is_nothing_is_an_error_with_what_is_near(tmp_path):
    folder(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.jpg").write_bytes(b"x")
    cases = {
        "photso": r"no such file or folder \(did you mean 'photos'",
        "empty": "no examples in this folder",
        "notes.md": r"not a file of examples.*\.csv",
        "flat": "not in sub-folders",
        "no/where": "there is no folder",
    }
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            data.guess(str(tmp_path / name))


# --- sources with a few rules of their own ----------------------------------------------------------------------------


def test_digits_are_bytes_of_the_full_range():
    splits = load(data.digits.Config())
    assert sum(splits.sizes.values()) == 1797
    image = next(iter(splits.train.dataset()))["image"]
    assert image.dtype == tf.uint8
    assert image.shape == (8, 8)
    assert max(int(e.max()) for e in splits.train.inputs["image"]) == 255


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("tone", ("negative", "neutral", "positive")),
        ("kpi", ("no", "yes")),
        ("part", ("answer", "prepared", "question")),
    ],
)
def test_no_company_of_the_earnings_calls_is_on_two_sides(label, names):
    splits = data.load(data.earnings_calls.Config(label=label))
    assert splits.class_names == names
    sides = [set(groups.tolist()) for groups in splits.groups.values()]
    assert sum(map(len, sides)) == len(set().union(*sides)) >= 25
    assert sum(splits.sizes.values()) >= 700
    assert all(count > 0 for counts in splits.class_counts.values() for count in counts.values())


def test_data_from_python_is_not_there_in_another_process():
    with pytest.raises(UserError, match="given in Python"):
        data.load(data.memory.Config())
