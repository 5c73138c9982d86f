"""TFRecord shards and prepared TFDS data sets: what is read from disk again each epoch."""

from __future__ import annotations

import numpy as np
import pytest

from tests.assets import asset
from tests.data.make import png, write_records, write_shards, write_tfds
from tfl import data
from tfl.config import UserError


def load(path, **fields):
    return data.load(data.tfrecord.Config(path=str(path), **fields))


def test_shards_are_splits_by_their_names(tmp_path):
    splits = load(write_shards(tmp_path, {"train-0": 20, "train-1": 20, "val-0": 10}))
    assert splits.sizes == {"train": 34, "validation": 6, "test": 10}
    splits = load(write_shards(tmp_path / "3", {"train": 20, "validation": 6, "test": 8}))
    assert splits.sizes == {"train": 20, "validation": 6, "test": 8}
    splits = load(tmp_path / "3" / "t*.tfrecord", validation=0.1)
    assert splits.sizes == {"train": 18, "validation": 2, "test": 8}


def test_content_and_label_stay_together_through_cut_and_shuffle(tmp_path):
    splits = load(write_shards(tmp_path, {"a": 20, "b": 20}))
    for part in splits.parts.values():
        for example in part.dataset(shuffle_seed=1).as_numpy_iterator():
            shard, place = part.ids[example["index"]].split(".tfrecord:")
            assert example["image"] == png({"a": 0, "b": 20}[shard] + int(place))
            assert example["label"] == int(place) % 2


def test_class_names_come_from_a_file_beside_the_shards_or_from_the_labels(tmp_path):
    write_shards(tmp_path, {"a": 20})
    assert load(tmp_path).class_names == ("0", "1")
    (tmp_path / "classes.txt").write_text("ant\nbee\n")
    assert load(tmp_path).class_names == ("ant", "bee")
    rows = [{"text": f"t {i}".encode(), "label": [b"x", b"y"][i % 2]} for i in range(20)]
    write_records(tmp_path / "named" / "a.tfrecord", rows)
    splits = load(tmp_path / "named", text_key="text")
    assert (splits.class_names, splits.modality) == (("x", "y"), "text")


def test_several_labels_and_numbers(tmp_path):
    rows = [{"image": png(i), "label": [float(i % 2), float(i % 3 == 0)]} for i in range(24)]
    write_records(tmp_path / "m" / "a.tfrecord", rows)
    assert load(tmp_path / "m").kind == "multilabel"
    write_records(tmp_path / "r" / "a.tfrecord", [{"image": png(i), "label": i / 7} for i in range(24)])
    assert load(tmp_path / "r").kind == "regression"


def test_whole_numbers_are_classes_however_many_there_are(tmp_path):
    write_records(tmp_path / "a.tfrecord", [{"image": png(i % 200), "label": i % 60} for i in range(360)])
    splits = load(tmp_path)
    assert (splits.kind, len(splits.class_names)) == ("classification", 60)


def test_a_shard_that_breaks_off_is_read_to_the_break_and_reported(tmp_path):
    write_shards(tmp_path, {"a": 100, "b": 100})
    cut = tmp_path / "a.tfrecord"  # the one that is not the last
    cut.write_bytes(cut.read_bytes()[:-100])
    splits = load(tmp_path)
    assert sum(splits.sizes.values()) == 199
    ((where, reason),) = [(item.id, item.reason) for item in splits.unreadable]
    assert where == "a.tfrecord:99"
    assert reason == "cut off within a record; how much of the shard is missing is not known: fetch or write it again"
    assert sum(len(list(part.dataset())) for part in splits.parts.values()) == 199
    with pytest.raises(UserError, match=r"a.tfrecord:99"):
        load(tmp_path, on_error="fail")
    content = bytearray(cut.read_bytes())
    content[len(content) // 2] ^= 255
    cut.write_bytes(content)
    with pytest.raises(UserError, match="% of the bytes of the shards cannot be read"):
        load(tmp_path)


def test_images_that_do_not_decode_are_left_out(tmp_path):
    rows = [{"image": png(i), "label": i % 2} for i in range(40)]
    rows[7]["image"] = b"\xff\xd8 no"
    write_records(tmp_path / "a.tfrecord", rows)
    splits = load(tmp_path)
    assert [item.id for item in splits.unreadable] == ["a.tfrecord:7"]
    assert sum(splits.sizes.values()) == 39
    found = [e["image"] for part in splits.parts.values() for e in part.dataset().as_numpy_iterator()]
    assert len(found) == 39
    assert rows[7]["image"] not in found


def test_shards_that_cannot_be_used(tmp_path):
    write_shards(tmp_path, {"train": 6, "other": 6})
    with pytest.raises(UserError, match=r"other.tfrecord: to which split"):
        load(tmp_path)
    with pytest.raises(UserError, match=r"no feature 'img' \(did you mean 'image'.*features: image, label"):
        load(tmp_path / "train.tfrecord", image_key="img")
    with pytest.raises(UserError, match=r"no such file, folder or pattern \(did you mean 'train.tfrecord'"):
        load(tmp_path / "tarin.tfrecord")
    (tmp_path / "one.txt").write_text("only\n")
    with pytest.raises(UserError, match=r"only one class|not one of the 1 classes"):
        load(tmp_path / "train.tfrecord", classes=str(tmp_path / "one.txt"))


def test_real_shards(tmp_path):
    shard = asset("images/cifar10/test-00000-of-00001.tfrecord")
    (tmp_path / "cifar10-00000.tfrecord").symlink_to(shard)
    splits = load(tmp_path, classes=str(asset("images/cifar10/classes.txt")))
    assert sum(splits.sizes.values()) == 10_000
    assert splits.class_counts["test"] == dict.fromkeys(splits.class_names, 150)
    assert splits.class_names[:2] == ("airplane", "automobile")


# --- TFDS -------------------------------------------------------------------------------------------------------------


def load_tfds(**fields):
    return data.load(data.tfds.Config(**fields))


def test_a_prepared_data_set_is_found_by_folder_and_by_name(tmp_path):
    folder = write_tfds(tmp_path, "pets", {"train": 40, "test": 10})
    found = [
        load_tfds(name=str(folder)),
        load_tfds(name=str(folder.parent)),
        load_tfds(name="pets", data_dir=str(tmp_path)),
    ]
    assert len({splits.fingerprint for splits in found}) == 1
    assert found[0].sizes == {"train": 34, "validation": 6, "test": 10}
    assert found[0].class_names == ("cat", "dog")


def test_tfds_content_and_label_stay_together(tmp_path):
    splits = load_tfds(name=str(write_tfds(tmp_path, "pets", {"train": 40})))
    for example in splits.train.dataset(shuffle_seed=2).as_numpy_iterator():
        number = int(splits.train.ids[example["index"]].split("__")[1])
        assert example["image"] == png(number)
        assert example["label"] == number % 2


def test_tfds_splits_by_slice_and_a_single_held_out_one(tmp_path):
    name = str(write_tfds(tmp_path, "pets", {"train": 40, "validation": 10}))
    assert load_tfds(name=name).sizes == {"train": 34, "validation": 6, "test": 10}
    sliced = load_tfds(name=name, train_split="train[:50%]", test_split="train[50%:]")
    assert sliced.sizes == {"train": 20, "validation": 10, "test": 20}
    assert not set(sliced.train.ids) & set(sliced.test.ids)
    with pytest.raises(UserError, match=r"no split 'trian' \(did you mean 'train'.*splits: train, validation"):
        load_tfds(name=name, train_split="trian[:50%]")


def test_tfds_texts_where_the_test_labels_are_withheld(tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "sentence": tfds.features.Text(),
        "other": tfds.features.Text(),
        "label": tfds.features.ClassLabel(names=["no", "yes"]),
        "idx": np.int32,
    }

    def row(split: str, i: int):
        return {"sentence": f"{split} {i}", "other": "o", "idx": i, "label": -1 if split == "test" else i % 2}

    counts = {"train": 40, "validation": 10, "test": 10}
    name = str(write_tfds(tmp_path, "gluey", counts, features, row))
    splits = load_tfds(name=name, text="sentence")
    assert splits.sizes == {"train": 34, "validation": 6, "test": 10}
    assert {e["text"].decode().split()[0] for e in splits.test.dataset().as_numpy_iterator()} == {"validation"}
    assert splits.unreadable == ()
    pair = load_tfds(name=name, text="sentence", text_pair="other")
    assert set(pair.train.dataset().element_spec) == {"index", "label", "text", "text_pair"}
    with pytest.raises(UserError, match=r"which feature is the text \(text\)\? other, sentence could be it"):
        load_tfds(name=name)
    with pytest.raises(UserError, match=r"no feature 'sentense' \(did you mean 'sentence'"):
        load_tfds(name=name, text="sentense")


def test_tfds_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"minst: no such TFDS data set.*did you mean 'mnist'"):
        load_tfds(name="minst", data_dir=str(tmp_path))
    monkeypatch.setattr(data.tfds, "_online", lambda: False)
    with pytest.raises(UserError, match=r"mnist: not prepared in .*no network.*tfds.load\('mnist'\).*data.name"):
        load_tfds(name="mnist", data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"no prepared TFDS data set"):
        load_tfds(name=str(tmp_path / "gone"))
