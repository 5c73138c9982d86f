"""What stands at the top of a page: it follows from the numbers, and it says what is not known."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.reporting import make
from tfl.parser import whole
from tfl.reporting import answer
from tfl.reporting.evidence import Evidence


def top(folder: Path) -> Any:
    return answer.answer(Evidence(folder))


def test_without_a_comparison_it_says_so_and_names_the_command(tmp_path: Path) -> None:
    found = top(make.run(tmp_path / "a run", *make.two_classes(80, 20)))
    assert (found.state, found.badge) == ("unknown", "not measured")
    assert "is not known" in found.headline
    words = whole().parse_args(shlex.split(found.command)[1:])
    assert (words.command, words.job) == ("compare", str(tmp_path / "a run" / "config.yaml"))
    make.comparison(Path(words.out), make.effect("config", "helped"))
    assert top(tmp_path / "a run").badge == "helped", "what the command leaves is found"


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        ("helped", "The transfer helped."),
        ("hurt", "The transfer hurt."),
        ("no difference", "The transfer made no difference that this data can show."),
    ],
)
def test_the_verdict_of_a_comparison_stands_first(tmp_path: Path, verdict: str, headline: str) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(80, 20))
    make.comparison(tmp_path / "compare-1", make.effect("head", verdict), make.effect("top", verdict))
    found = top(folder)
    assert (found.state, found.headline, found.command) == (verdict, headline, "")
    said = " ".join(found.sentences)
    assert "head, all labels: accuracy on the test split 0.900, against 0.700 from scratch: +0.200" in said
    assert "3 paired seeds, 3 test examples, about 200 updates" in said
    assert "../compare-1" in said
    assert ("Look at the cost." in said) == (verdict != "helped")


def test_methods_that_differ_are_told_apart_but_the_runs_own_phases_go_first(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(80, 20))
    effects = [make.effect("head", "helped"), make.effect("top", "hurt", -0.2), make.effect("lora", "helped")]
    make.comparison(tmp_path / "c", *effects)
    assert top(folder).headline == "The transfer helped with head and lora and hurt with top."
    assert top(folder).state == "mixed"
    make.comparison(tmp_path / "c", *effects, make.effect("config", "hurt", -0.2))
    assert top(folder).headline == "The transfer hurt."


def test_a_comparison_of_other_data_or_weights_is_not_taken(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", *make.two_classes(80, 20))
    make.comparison(tmp_path / "other", make.effect("head", "helped"), fingerprint="ffff")
    assert top(folder).badge == "not measured"
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "compare.json").write_text("{")
    assert top(folder).badge == "not measured"
    own = make.comparison(folder / "compare", make.effect("head", "hurt", -0.2))
    make.comparison(tmp_path / "later", make.effect("head", "helped"))
    assert Evidence(folder).comparison[0] == own, "the run's own comparison goes before those beside it"  # type: ignore[index]


def test_a_run_from_scratch_has_transferred_nothing(tmp_path: Path) -> None:
    config = {"data": {"source": "folder"}, "backbone": {"name": "mobilenet_v2", "weights": "none"}}
    found = top(make.run(tmp_path / "run", *make.two_classes(80, 20), config=config))
    assert found.badge == "from scratch"
    assert found.command == ""


@pytest.mark.parametrize("source", ["memory", "folder"])
def test_no_command_is_named_that_cannot_work(tmp_path: Path, source: str) -> None:
    config = {"data": {"source": source}, "backbone": {"name": "x", "weights": "pretrained"}}
    if source == "memory":
        found = top(make.run(tmp_path / "run", *make.two_classes(8, 2), config=config))
    else:
        found = top(make.run(tmp_path / "run", [1.0, 2.0, 3.0], [1.0, 2.0, 3.5], (), kind="regression", config=config))
    assert (found.badge, found.command) == ("not measured", "")


def test_the_baseline_is_the_most_frequent_class_of_training(tmp_path: Path) -> None:
    """30 of 100 are bees, which training had more of; the model is right on 80."""
    labels = np.repeat([0, 1], [70, 30])
    said = np.where(np.arange(100) < 80, labels, 1 - labels)
    folder = make.run(tmp_path / "run", labels, np.eye(2)[said], counts={"ants": 40, "bees": 60})
    found = answer.baseline(Evidence(folder))
    assert found is not None
    assert found.value == pytest.approx(0.3)
    assert found.better["value"] == pytest.approx(0.5)
    assert found.better["low"] < 0.5 < found.better["high"]
    about = " ".join(top(folder).about)
    assert "Always answering bees" in about
    assert "The model is better than that: the difference is +0.500" in about


def test_few_examples_do_not_tell(tmp_path: Path) -> None:
    said = top(make.run(tmp_path / "run", np.array([0, 0, 0]), np.eye(2)[[0, 0, 0]], counts={"ants": 3, "bees": 4})).about
    assert any("3 test examples are too few to tell" in line for line in said)


def test_a_model_that_is_no_better_is_not_called_so(tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    counts = {"ants": 60, "bees": 40}
    as_good = make.run(tmp_path / "a", labels, np.eye(2)[(np.arange(40) // 2) % 2], counts=counts)
    assert "do not show that the model is better" in " ".join(top(as_good).about)
    worse = make.run(tmp_path / "b", labels, np.eye(2)[1 - labels], counts=counts)
    assert "The model is worse than that: the difference is -0.500" in " ".join(top(worse).about)


def test_the_baseline_of_a_regression_is_the_median(tmp_path: Path) -> None:
    folder = make.run(tmp_path / "run", [0.0, 1.0, 2.0, 9.0, 10.0], [0.5, 1.5, 2.5, 9.5, 10.5], (), kind="regression")
    found = answer.baseline(Evidence(folder))
    assert found is not None
    assert found.value == pytest.approx((2 + 1 + 0 + 7 + 8) / 5)
    assert found.better["value"] == pytest.approx(3.6 - 0.5)
    assert top(folder).figure == "0.500"


def test_the_baseline_of_several_labels_is_what_most_examples_have(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [1, 0], [1, 1], [0, 0]], np.float32)
    folder = make.run(tmp_path / "run", labels, labels * 0.8 + 0.1, kind="multilabel", counts={"ants": 70, "bees": 20})
    found = answer.baseline(Evidence(folder))
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert "answering ants" in found.told


def test_what_spoils_the_result_stands_at_the_top(tmp_path: Path) -> None:
    data = {"sizes": {"train": 4, "test": 10}, "duplicates": [["a.jpg", "train", "b.jpg", "test"]]}
    found = top(make.run(tmp_path / "run", *make.two_classes(8, 2), data=data))
    assert any("a.jpg (train) = b.jpg (test)" in line for line in found.warnings)
