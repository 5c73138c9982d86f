"""What a run predicts and evaluates: every form that its inputs may come in, and the ones that it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tfl
from tfl import Phase, UserError
from tfl.evaluate import evaluate
from tfl.jobs import inputs_of_files
from tfl.predict import table
from tfl.tasks.multilabel import MultiLabel

HEAD = [Phase(epochs=1)]


@pytest.fixture(scope="module")
def image_run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    backbone = {"name": "mobilenet_0.25", "weights": "none", "image_size": 32}
    out = tmp_path_factory.mktemp("run") / "images"
    return tfl.finetune(str(photos), backbone=backbone, out=out, data={"batch_size": 8}, phases=HEAD)


@pytest.fixture(scope="module")
def text_run(calls: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("run") / "texts"
    return tfl.finetune(str(calls), backbone=str(tiny_bert), out=out, data={"label": "tone"}, phases=HEAD)


@pytest.fixture(scope="module")
def pairs(calls: Path) -> pd.DataFrame:
    frame = pd.read_csv(calls)
    return pd.DataFrame({"question": frame["text"], "answer": frame["text"][::-1].tolist(), "tone": frame["tone"]})


@pytest.fixture(scope="module")
def pair_run(pairs: pd.DataFrame, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("run") / "pairs"
    columns = {"text": "question", "text_pair": "answer", "label": "tone"}
    return tfl.finetune(pairs, backbone=str(tiny_bert), out=out, data=columns, phases=HEAD)


@pytest.fixture(scope="module")
def number_run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    words = np.arange(60) % 7
    frame = pd.DataFrame({"text": [f"{'rose ' * count} {row}" for row, count in enumerate(words)], "label": words * 1.5})
    return tfl.finetune(frame, backbone=str(tiny_bert), out=tmp_path_factory.mktemp("run") / "numbers", phases=HEAD)


def files(run: Any, *paths: Path, **columns: str) -> pd.DataFrame:
    """What `tfl predict` writes."""
    return run.predict(inputs_of_files(run, [str(path) for path in paths], columns).whole())


# --- texts ------------------------------------------------------------------------------------------------------------


def test_rows_of_files_have_their_line_and_their_text(text_run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('n,text\n1,sales rose\n2,\n3,"costs\nfell"\n4,sales fell\n')
    (tmp_path / "b.txt").write_text("sales rose\n\ncosts fell\n\n")
    result = files(text_run, tmp_path / "a.csv", tmp_path / "b.txt")
    assert list(result["id"]) == ["a.csv:2", "a.csv:3", "a.csv:4", "a.csv:6", "b.txt:1", "b.txt:2", "b.txt:3"]
    assert list(result["text"]) == ["sales rose", "", "costs\nfell", "sales fell", "sales rose", "", "costs fell"]
    assert list(result["error"].dropna()) == ["no text in column 'text'", "no text"]
    assert result["predicted"].isna().tolist() == [False, True, False, False, False, True, False]
    assert result["p_up"][0] == pytest.approx(result["p_up"][4], abs=1e-5)


def test_files_of_one_name_are_told_apart(text_run: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "new.txt").write_text("sales rose\n")
    result = files(text_run, tmp_path / "a" / "new.txt", tmp_path / "b" / "new.txt")
    assert list(result["id"]) == [f"{tmp_path}/{name}/new.txt:1" for name in ("a", "b")]


def test_a_missing_text_is_an_error_of_its_row(text_run: Any) -> None:
    result = text_run.predict(["sales rose", None, " ", float("nan"), "costs fell"])
    assert list(result["id"]) == ["0", "1", "2", "3", "4"]
    assert result["error"].notna().tolist() == [False, True, True, True, False]
    assert list(result.columns) == ["id", "predicted", "probability", "p_down", "p_up", "error"]


def test_a_file_is_read_wherever_its_name_stands(text_run: Any, image_run: Any, photos: Path, tmp_path: Path) -> None:
    table, lines = tmp_path / "new.csv", tmp_path / "new.txt"
    table.write_text("text\nsales rose\ncosts fell\n")
    lines.write_text("sales rose\ncosts fell\n")
    expected = text_run.predict(["sales rose", "costs fell"])["predicted"].tolist()
    for one in (table, str(table), lines, str(lines)):
        assert text_run.predict(one)["predicted"].tolist() == expected
    assert len(text_run.predict(["sales.csv"])) == len(text_run.predict("sales " * 200 + ".csv")) == 1, "which is no file"
    for one in (tmp_path / "other.csv", str(tmp_path / "other.csv"), "other.txt"):
        with pytest.raises(UserError, match="no such file"):
            text_run.predict(one)
    assert len(image_run.predict(photos / "dark")) == len(image_run.predict(str(photos / "dark"))) == 20
    assert len(image_run.predict(photos / "dark" / "00.png")) == 1


def test_rows_keep_the_names_that_they_have_in_a_frame(text_run: Any) -> None:
    frame = pd.DataFrame({"text": ["sales rose", None, "costs fell"], "n": [1, 2, 3]}, index=[7, 3, 9])
    for given in (frame, frame["text"]):
        found = text_run.predict(given)
        assert found.index.tolist() == [7, 3, 9]
        assert found["error"].notna().tolist() == [False, True, False]
    joined = frame.assign(said=text_run.predict(frame)["predicted"])
    assert joined["said"].isna().tolist() == [False, True, False]


def test_a_data_frame_is_read_by_its_columns(text_run: Any, pair_run: Any, pairs: pd.DataFrame) -> None:
    frame = pd.DataFrame({"n": [1, 2], "text": ["sales rose", "costs fell"]})
    pd.testing.assert_frame_equal(text_run.predict(frame), text_run.predict(frame["text"].tolist()))
    with pytest.raises(UserError, match="reads texts; which column"):
        text_run.predict(pd.DataFrame({"n": [1], "m": ["a"]}))
    rows = list(zip(pairs["question"], pairs["answer"], strict=True))
    pd.testing.assert_frame_equal(pair_run.predict(pairs), pair_run.predict(rows))
    with pytest.raises(UserError, match=r"no column 'answer'.*columns: question"):
        pair_run.predict(pairs[["question"]])


def test_pairs_and_single_texts_are_not_confused(text_run: Any, pair_run: Any) -> None:
    for given in (["a", "b"], "a", ("a", "b"), [("a", "b"), ("a", "b", "c")]):
        with pytest.raises(UserError, match=r"reads pairs of texts: give .*\[\(\"one text\", \"the other\"\)\]"):
            pair_run.predict(given)
    for given in ([("a", "b")], [1, 2], {"text": ["a"]}, b"a", 3):
        with pytest.raises(UserError, match="reads single texts"):
            text_run.predict(given)
    with pytest.raises(UserError, match="nothing to predict"):
        text_run.predict([])
    assert len(pair_run.predict([("sales rose", "yes"), ["sales fell", "no"]])) == 2
    assert pair_run.predict([("sales rose", None), ("a", "b")])["error"].notna().tolist() == [True, False]


def test_a_table_of_pairs(pair_run: Any, pairs: pd.DataFrame, tmp_path: Path) -> None:
    pairs.to_csv(tmp_path / "new.csv", index=False)
    result = files(pair_run, tmp_path / "new.csv")
    assert list(result["text"]) == list(pairs["question"])
    assert list(result["text_pair"]) == list(pairs["answer"])
    pairs.rename(columns={"answer": "reply"}).to_csv(tmp_path / "other.csv", index=False)
    again = files(pair_run, tmp_path / "other.csv", text_pair="reply")
    np.testing.assert_allclose(again["p_up"], result["p_up"], atol=1e-6)
    (tmp_path / "new.txt").write_text("one\n")
    with pytest.raises(
        UserError,
        match=r"^new.txt: this run reads pairs of texts; give a table with two columns, question and answer, or name others",
    ):
        files(pair_run, tmp_path / "new.txt")
    assert pair_run.evaluate(str(tmp_path / "other.csv"), text_pair="reply")["examples"] == 60


def test_a_latin_1_file_is_explained(text_run: Any, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_bytes("früh\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"new.txt: not UTF-8.*iconv"):
        files(text_run, tmp_path / "new.txt")


# --- images -----------------------------------------------------------------------------------------------------------


def test_arrays_of_every_range_predict_the_same(image_run: Any) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3)).astype(np.uint8)
    expected = image_run.predict(whole)
    for given in (whole.astype(np.float32), whole / 255.0, list(whole)):
        pd.testing.assert_frame_equal(image_run.predict(given), expected)
    assert list(expected["id"]) == ["0", "1", "2"]


def test_arrays_that_are_no_batch_are_refused(image_run: Any) -> None:
    image = np.zeros((40, 30, 3), np.uint8)
    with pytest.raises(UserError, match=r"images\[None\]"):
        image_run.predict(image)
    with pytest.raises(UserError, match="different shapes"):
        image_run.predict([image, image[:20]])
    with pytest.raises(UserError, match="-1"):
        image_run.predict(-np.ones((2, 8, 8, 3)))
    for given in ([1, 2], {"image": image}):
        with pytest.raises(UserError, match="reads images"):
            image_run.predict(given)


def test_images_of_which_none_can_be_read(image_run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"hello")
    with pytest.raises(UserError, match=r"(?s)a.jpg: not an image.*b.jpg: no such file"):
        image_run.predict([tmp_path / "a.jpg", tmp_path / "b.jpg"])


def test_a_path_given_twice_keeps_its_places(image_run: Any, photos: Path, tmp_path: Path) -> None:
    one, bad = str(photos / "dark" / "00.png"), str(tmp_path / "b.jpg")
    assert list(image_run.predict([one, bad, one])["id"]) == [one, bad, one]


def test_a_table_of_image_paths(image_run: Any, photos: Path, tmp_path: Path) -> None:
    (photos / "list.csv").write_text("file,n\ndark/00.png,1\ngone.png,2\nbright/00.png,3\n")
    try:
        result = files(image_run, photos / "list.csv", photos / "dark" / "00.png")
    finally:
        (photos / "list.csv").unlink()
    assert list(result["id"]) == ["list.csv:2", "list.csv:3", "list.csv:4", str(photos / "dark" / "00.png")]
    assert list(result["image"][:3]) == ["dark/00.png", "gone.png", "bright/00.png"]
    assert result["error"].dropna().to_dict() == {1: "no such file"}
    assert result["p_dark"][0] == pytest.approx(result["p_dark"][3])


def test_texts_for_a_run_of_images(image_run: Any, calls: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("sales rose\n")
    for file in (tmp_path / "new.txt", calls):
        with pytest.raises(UserError, match="this run reads images"):
            files(image_run, file)


def test_images_for_a_run_of_texts(text_run: Any, photos: Path) -> None:
    for file in (photos, photos / "dark" / "00.png"):
        with pytest.raises(UserError, match="this run reads texts"):
            files(text_run, file)


# --- evaluation -------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_said_and_limited(text_run: Any, image_run: Any, calls: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(calls)
    frame.loc[3, "text"] = None
    assert [bad["reason"] for bad in text_run.evaluate(frame)["unreadable"]] == ["no text in column 'text'"]
    with pytest.raises(UserError, match="on_error is fail"):
        text_run.evaluate(frame, on_error="fail")
    frame.loc[:10, "text"] = None
    with pytest.raises(UserError, match="11 of 60 examples unreadable"):
        text_run.evaluate(frame)
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"hello")
    with pytest.raises(UserError, match="2 of 2 examples unreadable"):
        image_run.evaluate(str(tmp_path))


def test_a_regression_on_whole_numbers(number_run: Any) -> None:
    frame = pd.DataFrame({"text": ["rose", "rose rose", "fell"], "label": [1, 2, 0]})
    assert number_run.evaluate(frame)["mae"]["value"] >= 0
    assert number_run.evaluate((list(frame["text"]), [1, 2, 0]))["examples"] == 3


def test_only_fields_that_the_other_source_has_are_passed(text_run: Any, image_run: Any, photos: Path, calls: Path) -> None:
    with pytest.raises(UserError, match="the data holds images, but this run reads texts"):
        text_run.evaluate(str(photos))
    with pytest.raises(UserError, match="the data holds texts, but this run reads images"):
        image_run.evaluate(str(calls), label="tone")
    images = np.zeros((4, 32, 32, 3), np.uint8)
    assert image_run.evaluate((images, ["dark", "bright"] * 2))["examples"] == 4
    with pytest.raises(UserError, match=r"the class '.*', which the model does not know"):
        text_run.evaluate("earnings_calls")


def test_a_run_of_the_embedded_calls_finds_its_column(tiny_bert: Path, tmp_path: Path) -> None:
    data = {"source": "earnings_calls", "max_train": 20, "batch_size": 64}
    run = tfl.finetune(data, backbone=str(tiny_bert), out=tmp_path / "run", phases=HEAD)
    (tmp_path / "new.csv").write_text("text,tone\nsales rose,positive\nsales fell,negative\n")
    assert run.evaluate(str(tmp_path / "new.csv"))["examples"] == 2


# --- measures ---------------------------------------------------------------------------------------------------------


def test_a_probability_of_one_half_is_a_yes_in_table_and_metrics() -> None:
    half = np.full((2, 2), 0.5)
    shown = table(MultiLabel(class_names=("a", "b")), half, ["0", "1"])
    assert list(shown["predicted"]) == ["a;b", "a;b"]
    assert evaluate("multilabel", np.ones((2, 2)), half, ("a", "b"))["accuracy"]["value"] == 1


def test_the_calibration_error_lies_in_its_interval() -> None:
    levels = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], 20)
    labels = np.concatenate([np.arange(20) >= right for right in (11, 13, 15, 17, 19)]).astype(int)  # calibrated exactly
    for shift in (0.0, 0.02):
        p = np.stack([levels + shift, 1 - levels - shift], axis=1)
        error = evaluate("classification", labels, p, ("a", "b"))["expected_calibration_error"]
        assert error["value"] == pytest.approx(shift, abs=1e-9)
        assert 0 <= error["low"] <= error["value"] <= error["high"] <= 1
        assert error["high"] > 0.02
