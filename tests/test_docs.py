"""What the documents say is so: the table of keys is that of the code, commands parse, keys exist, links lead somewhere."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfl.config import override, validate
from tfl.parser import whole
from tfl.phases import Phase

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONFIG_DOCS = runpy.run_path(str(ROOT / "scripts" / "config_docs.py"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "tfl/data/embedded/earnings_calls.md",
]


def blocks(language: str) -> list[str]:
    """The fenced code blocks of README.md in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> Iterator[list[str]]:
    """Every `tfl …` command of README.md, in its blocks and in its lines, as the arguments of `tfl`."""
    lines = [line for block in blocks("bash") for line in block.replace("\\\n", " ").splitlines()]
    lines += [code for code in re.findall(r"`([^`\n]+)`", README) if "…" not in code]
    for line in lines:
        words = shlex.split(line, comments=True) if line.startswith(("tfl ", "python scripts/train.py")) else []
        if words[:1] == ["tfl"]:
            yield words[1:]
        elif len(words) > 2:
            yield ["train", *words[2:]]


COMMANDS = list(commands())


def known(key: str) -> bool:
    """Whether a config has `key`, in which list elements are numbered."""
    return re.sub(r"\.\d+(?=\.|$)", ".N", key).removesuffix(".N") in CONFIG_DOCS["keys"]()


def test_the_table_of_keys_is_that_of_the_code() -> None:
    written = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert written == CONFIG_DOCS["page"](), "run: python scripts/config_docs.py > docs/config.md"


def test_there_are_commands() -> None:
    assert {"train", "check", "evaluate", "predict", "export", "list"} <= {words[0] for words in COMMANDS}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_parses_and_its_keys_exist(words: list[str]) -> None:
    arguments, rest = whole().parse_known_args(words)
    overrides = [*getattr(arguments, "overrides", []), *rest]
    for item in overrides:
        key, sign, _ = item.partition("=")
        assert sign, f"{item} is no option of tfl {words[0]}, and no KEY=VALUE"
        assert known(key), f"no config has the key {key}"
    job = getattr(arguments, "config", None) or getattr(arguments, "job", None)
    if job and job.startswith("configs/"):
        assert (ROOT / job).is_file()
    phases = override({}, [item for item in overrides if item.startswith("phases=")]).get("phases", [])
    validate(tuple[Phase, ...], phases)


@pytest.mark.parametrize("key", re.findall(r"`((?:data|backbone|task|phases|augment)\.[\w.]+)(?:=[^`]*)?`", README))
def test_a_key_in_the_text_exists(key: str) -> None:
    assert known(key), f"no config has the key {key}"


def flat(value: Any, key: str = "") -> Iterator[str]:
    """The dotted keys of the leaves of what a YAML block holds."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{key}.{place}")
    else:
        yield key


@pytest.mark.parametrize("block", blocks("yaml"))
def test_the_keys_of_a_yaml_block_exist(block: str) -> None:
    raw = yaml.safe_load(block)
    assert [key for key in flat(raw) if not known(key)] == []
    validate(tuple[Phase, ...], raw.get("phases", []))


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_compiles(block: str) -> None:
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)\)", text):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{target} is not there"
