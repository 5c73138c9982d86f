"""The model card says what is wrong with the data that a model was trained and tested on."""

from __future__ import annotations

from types import SimpleNamespace

from tests.test_report import report
from tfl.serving.card import of_model
from tfl.tasks.classification import Classification


def test_it_counts_what_spoils_the_result() -> None:
    facts = SimpleNamespace(pairs=False, modality="image", tasks={"label": Classification(class_names=("ants", "bees"))})
    lines = of_model(report(), facts, "insects").splitlines()
    assert "| test | 153 | ants 70, bees 83 |" in lines
    assert "1 examples stand in two splits, 1 of them in the test split." in lines
    assert "1 groups stand in two splits." in lines
    assert "1 examples have another's content and a different label." in lines
    assert "Left out: 15 .webp." in lines
