"""Several runs beside one another: paired where the test examples are the same, and silent where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.reporting import make
from tests.reporting.test_page import Elements
from tfl.cli import main
from tfl.reporting.evidence import Evidence
from tfl.reporting.several import Runs, difference, differing


def three(tmp_path: Path) -> list[Path]:
    """Runs on 100 examples that are right on 70, on 90 (those and others), and on 71."""
    return [make.run(tmp_path / f"r{right}", *make.two_classes(right, 100 - right)) for right in (70, 90, 71)]


def test_a_difference_is_paired_by_example(tmp_path: Path) -> None:
    first, second, _ = map(Evidence, three(tmp_path))
    found = difference(first, second)
    assert found is not None
    assert found.value == pytest.approx(0.2)
    assert 0.1 < found.low < 0.2 < found.high < 0.3
    turned = difference(second, first)
    assert turned is not None
    assert turned.value == pytest.approx(-0.2)
    # As accurate, and wrong on others: the interval is wider than where the two err alike.
    labels, said = make.two_classes(70, 30)
    shifted = Evidence(
        make.run(
            tmp_path / "shifted", labels, np.where((np.arange(100) < 30)[:, None], 1 - np.eye(2)[labels], np.eye(2)[labels])
        )
    )
    apart, alike = difference(first, shifted), difference(first, Evidence(make.run(tmp_path / "same", labels, said)))
    assert apart is not None
    assert alike is not None
    assert (alike.low, alike.high) == (0, 0)
    assert apart.low < -0.05
    assert apart.high > 0.05


def test_the_terminal_and_the_page_say_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(folder) for folder in three(tmp_path)]
    assert main(["report", *folders, "--out", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "r90 is better than r70: +0.200, 95 % interval" in out
    assert "r71 and r70 differ by no more than this data can show: +0.010" in out
    assert out.index("0.700") < out.index("0.900")
    text = (tmp_path / "page.html").read_text()
    assert "r90 has the best test accuracy: 0.900." in text
    assert "r90 is better than r70" in text
    assert "script" not in [tag for tag, _ in Elements(text).found]
    assert main(["report", *folders, "--plots", str(tmp_path / "plots")]) == 2


def test_a_comparison_among_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(folder) for folder in three(tmp_path)]
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "compare.json").write_text("{}")
    assert main(["report", *folders, str(tmp_path / "compared")]) == 2
    assert f"compared: a comparison; `tfl report {tmp_path}/compared` shows it, by itself" in capsys.readouterr().err


def test_a_file_that_is_no_page_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(folder) for folder in three(tmp_path)]
    (tmp_path / "mine.html").write_text('{"text": "mine"}')
    assert main(["report", *folders, "--out", str(tmp_path / "mine.html")]) == 2
    assert "mine.html is there already, and is no page" in capsys.readouterr().err
    assert (tmp_path / "mine.html").read_text() == '{"text": "mine"}'
    for _ in range(2):
        assert main(["report", *folders, "--out", str(tmp_path / "page.html")]) == 0


def test_runs_of_other_test_examples_are_not_held_together(tmp_path: Path) -> None:
    one = make.run(tmp_path / "one", *make.two_classes(70, 30))
    other = make.run(tmp_path / "other", *make.two_classes(70, 20))
    assert difference(Evidence(one), Evidence(other)) is None
    assert "were not tested on the same examples" in Runs([one, other]).sentences()[0]


def test_of_regressions_the_smaller_error_is_better(tmp_path: Path) -> None:
    labels = np.arange(20.0)
    runs = [make.run(tmp_path / f"r{off}", labels, labels + off, (), kind="regression") for off in (2.0, 1.0)]
    found = difference(*map(Evidence, runs))
    assert found is not None
    assert found.value == pytest.approx(1)
    assert Runs(runs).answer().headline == "r1.0 has the best test mean absolute error: 1.000."


def test_runs_of_two_kinds_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = make.run(tmp_path / "one", *make.two_classes(7, 3))
    other = make.run(tmp_path / "other", [1.0, 2.0], [1.0, 2.0], (), kind="regression")
    assert main(["report", str(one), str(other)]) == 2
    assert "no metric in common" in capsys.readouterr().err


def test_only_keys_that_differ_are_shown() -> None:
    one = {"seed": 0, "data": {"batch_size": 8}, "phases": [{"epochs": 3}]}
    other = {"seed": 0, "data": {"batch_size": 16}, "phases": [{"epochs": 3}, {"epochs": 1}]}
    assert differing([one, other]) == {"data.batch_size": ["8", "16"], "phases.1.epochs": ["–", "1"]}
