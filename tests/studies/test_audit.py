"""`tfl audit` on small runs: what it writes, what it says that a run lacks, and the export at a temperature."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tfl
from tests.test_mistakes import hold
from tests.test_mistakes import run as run_alone
from tfl import Phase
from tfl.cli import main
from tfl.config import UserError
from tfl.run import Run
from tfl.serving import bundle, certificate, comparison
from tfl.studies.audit import audit as audits
from tfl.studies.audit import labels
from tfl.studies.audit.audit import Options
from tfl.studies.audit.subject import Subject

EVERY = {"calibration", "slices", "robustness", "confidence", "labels", "overfitting", "cues"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 sentences of three regions; in the north the words mean nothing, and a tenth of the labels are swapped."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(160):
        up = number % 2
        region = ("north", "south", "west")[number % 3]
        word = random.choice(["rose", "fell"]) if region == "north" else "rose" if up else "fell"
        rows.append({"text": f"sales {word} this year", "tone": "up" if up else "down", "region": region, "size": number})
    file = tmp_path_factory.mktemp("audit") / "calls.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


@pytest.fixture(scope="module")
def text_run(table: Path, tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tfl.finetune(
        str(table),
        backbone={"name": str(tiny_bert), "pooling": "mean"},
        phases=[Phase(trainable="all", epochs=6, learning_rate=1e-2)],
        data={"label": "tone", "batch_size": 16, "test": 0.4, "validation": 0.2},
        out=tmp_path_factory.mktemp("audit") / "texts",
    )


def answers(run: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.directory / "audit.json").read_text())
    return found


@pytest.fixture(scope="module")
def audited(text_run: Any) -> dict[str, Any]:
    audits.audit(text_run, Options(slices=("region", "size", "class"), limit=40))
    return answers(text_run)


def test_an_audit_in_python(text_run: Any) -> None:
    done = tfl.audit(text_run.directory, sections=["slices"], slices=["region"])
    assert set(done.sections) == {"slices"}
    assert any(name == "slices" and "north" in found.text for name, found in done.findings)
    assert answers(text_run)["options"]["slices"] == ["region"]
    for options, said in (
        ({"sections": "slices"}, "sections: 'slices' is not valid; a list of names"),
        ({"sections": ["slice"]}, "sections: 'slice' is not valid (did you mean 'slices'?)"),
        ({"limit": 0}, "limit: 0 is not valid; a whole number, at least 1"),
    ):
        with pytest.raises(UserError) as error:
            tfl.audit(text_run, **options)
        assert str(error.value).startswith(said)


def test_a_run_on_texts_is_asked_all_but_what_texts_lack(audited: dict[str, Any]) -> None:
    assert set(audited["sections"]) == EVERY - {"cues"}
    assert audited["skipped"] == {"cues": "cues: only images have places"}
    assert set(audited["seconds"]) == EVERY
    corrupted = audited["sections"]["robustness"]["corruptions"]
    assert [(one["corruption"], one["strength"]) for one in corrupted[:4]] == [
        ("typos", 1),
        ("typos", 2),
        ("typos", 3),
        ("capitals", 1),
    ]
    assert {one["examples"] for one in corrupted} == {40}
    assert all(one["value"] == audited["sections"]["robustness"]["clean"]["value"] for one in corrupted[3:]), (
        "it reads lower case"
    )
    assert audited["sections"]["overfitting"]["epochs"][-1]["gaps"].keys() >= {"loss", "accuracy"}
    assert set(audited["sections"]["confidence"]["foreign"]) == {"texts of shuffled words"}


def test_slices_are_columns_of_the_table(audited: dict[str, Any], text_run: Any) -> None:
    columns = audited["sections"]["slices"]["columns"]
    assert {one["slice"] for one in columns["region"]["slices"]} == {"north", "south", "west"}
    assert columns["region"]["gap"]["worst"] == "north"
    assert len(columns["size"]["slices"]) == 4, "many numbers are cut at their quartiles"
    assert sum(one["examples"] for one in columns["class"]["slices"]) == text_run.metrics["examples"]
    assert any(one["section"] == "slices" and "region: north does worse" in one["text"] for one in audited["findings"])
    with pytest.raises(UserError, match=r"no column 'regin' \(did you mean 'region'\?\)"):
        audits.audit(text_run, Options(slices=("regin",)))


def test_calibration_is_of_the_test_split(audited: dict[str, Any], text_run: Any) -> None:
    found = audited["sections"]["calibration"]
    assert found["expected_calibration_error"]["value"] == pytest.approx(
        text_run.metrics["expected_calibration_error"]["value"], abs=1e-6
    )
    scaled = found["temperature"]
    assert scaled["examples"] == 32
    assert scaled["value"] != 1
    assert scaled["log_loss"]["value"] != found["log_loss"]["value"]


def test_an_audit_is_the_same_again(audited: dict[str, Any], text_run: Any) -> None:
    audits.audit(text_run, Options(sections=("robustness", "confidence"), limit=40))
    again = answers(text_run)["sections"]
    for name in ("confidence", "robustness"):
        assert again[name] == audited["sections"][name]


def test_scratch_has_to_be_the_same_from_scratch(text_run: Any) -> None:
    with pytest.raises(UserError, match="began with weights"):
        audits.audit(text_run, Options(scratch=text_run))


def test_input_of_another_kind_comes_from_a_file(text_run: Any, tmp_path: Path) -> None:
    (tmp_path / "poems.txt").write_text("the year again\nwe saw a little\n")
    done = audits.audit(text_run, Options(sections=("confidence",), ood=str(tmp_path / "poems.txt")))
    assert done.sections["confidence"].facts["foreign"][str(tmp_path / "poems.txt")]["examples"] == 2
    with pytest.raises(UserError, match="no such file"):
        audits.audit(text_run, Options(ood=str(tmp_path / "poem.txt")))


# --- the export -------------------------------------------------------------------------------------------------------


def test_an_export_carries_the_temperature(
    text_run: Any, audited: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audits.audit(text_run, Options(sections=("calibration",)))
    scaled = answers(text_run)["sections"]["calibration"]["temperature"]
    value = scaled["value"]
    assert main(["export", str(text_run.directory), "--temperature", "--out", str(tmp_path / "e")]) == 0
    assert f"probabilities at the temperature {value:.3f}" in capsys.readouterr().out
    (version,) = bundle.chosen(tmp_path / "e")
    found = json.loads((version / "certificate.json").read_text())
    assert found["passed"]
    assert found["temperature"] == pytest.approx(value)
    assert found["metrics"]["accuracy"]["served"] == text_run.metrics["accuracy"]["value"]
    assert found["metrics"]["log_loss"]["served"] == pytest.approx(scaled["log_loss"]["value"], abs=1e-5)
    assert found["metrics"]["log_loss"]["served"] != pytest.approx(text_run.metrics["log_loss"]["value"], abs=1e-3)
    assert "divided by" in (version / "model_card.md").read_text()


def test_a_certificate_holds_an_export_to_its_temperature(text_run: Any, tmp_path: Path) -> None:
    """What is evaluated is scaled, so that a model which is not fails."""
    gathered = {}
    for value in (None, 3.0):
        folder = tmp_path / str(value)
        folder.mkdir()
        certificate.gather(folder, text_run.directory, text_run.facts.tasks["tone"], 1e-5, value)
        gathered[value] = pd.read_csv(folder / "evidence" / "predictions.csv")
    about = {"kind": "classification", "class_names": ["down", "up"], "tolerance": 1e-5}
    plain = gathered[None][["p_down", "p_up"]].to_numpy()
    names = np.array([["down", "up"]] * len(plain))
    rows = [{"id": str(place), "label": np.zeros(1)} for place in range(len(plain))]
    told, _ = comparison.compared(about, gathered[3.0], {"probabilities": plain, "class_names": names}, rows)
    assert told[0].startswith("probabilities of")
    assert len(told) == 1, "the classes are the same"


def test_a_temperature_is_above_0(text_run: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"temperature: 0\.0 is not valid"):
        text_run.export(tmp_path / "e", temperature=0.0)


# --- what a run lacks -------------------------------------------------------------------------------------------------


def test_a_regression_has_no_calibration(tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{'rose ' * (place % 7)}fell,{place % 7 * 1.5}" for place in range(80)]
    (tmp_path / "t.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    run = tfl.finetune(
        str(tmp_path / "t.csv"), backbone={"name": str(tiny_bert)}, phases=[Phase(epochs=1)], out=tmp_path / "run"
    )
    capsys.readouterr()
    sections = "calibration,slices,confidence,labels,cues"
    assert main(["audit", str(run.directory), "--sections", sections]) == 0
    shown = capsys.readouterr().out
    assert "not asked: calibration: not for a run that is for regression" in shown
    found = answers(run)
    assert set(found["skipped"]) == {"calibration", "confidence", "labels", "cues"}
    overall = found["sections"]["slices"]["overall"]["value"]
    scale = np.std([row["label"] for row in pd.read_csv(run.directory / "predictions.csv").to_dict("records")])
    assert overall == pytest.approx(-run.metrics["mae"]["value"] / scale, rel=1e-4)


def test_data_given_in_python_is_not_there_any_more(text_run: Any, tmp_path: Path) -> None:
    shutil.copytree(text_run.directory, tmp_path / "run")
    config = {**text_run.report.config, "data": {**text_run.report.config["data"], "source": "memory"}}
    run = Run(tmp_path / "run", text_run.facts, dataclasses.replace(text_run.report, config=config))
    done = audits.audit(run, Options(sections=("calibration", "slices", "labels", "overfitting")))
    assert set(done.sections) == {"calibration", "slices", "overfitting"}
    assert "in Python" in done.skipped["labels"]
    assert "in Python" in done.sections["calibration"].facts["temperature"]["why"]
    assert "in Python" in done.sections["overfitting"].facts["why"]


def test_labels_of_all_splits_are_checked(text_run: Any) -> None:
    subject = Subject(text_run)
    rows, given = labels._pool(subject)
    assert len(rows) == len(given) == sum(subject.splits.sizes.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sections", "labels,calibraton"], ["--sections: 'calibraton' is not valid", "did you mean 'calibration'"]),
        (["--limit", "0"], ["--limit: 0 is not valid"]),
        ([], ["nowhere: not the directory of a run"]),
    ],
)
def test_a_mistake_is_found_before_tensorflow_is_imported(words: list[str], said: list[str]) -> None:
    code, heavy, message = run_alone(["audit", "nowhere", *words])
    hold(code, message, said)
    assert not heavy


def test_a_section_asked_alone_leaves_what_the_others_found(text_run: Any, tmp_path: Path) -> None:
    run = tfl.load(shutil.copytree(text_run.directory, tmp_path / "run"))
    audits.audit(run, Options(slices=("region",)))
    before = answers(run)
    audits.audit(run, Options(sections=("calibration",)))
    after = answers(run)
    assert after["sections"] == before["sections"]
    assert after["findings"] == before["findings"]
    assert after["options"]["slices"] == ["region"]
    assert list(after["skipped"]) == list(before["skipped"])
    (run.directory / "audit.json").write_text("{")
    audits.audit(run, Options(sections=("slices",)))
    assert list(answers(run)["sections"]) == ["slices"]
