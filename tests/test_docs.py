"""What the documents say is so: the table of keys is that of the code, commands parse, keys exist, links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfl.config import override
from tfl.parser import whole
from tfl.phases import Phase
from tfl.validate import validate

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
    check(words)


def check(words: list[str]) -> None:
    """Holds the arguments of `tfl` to what it takes."""
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


# --- examples of clusters ---------------------------------------------------------------------------------------------

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def stand_ins(tmp_path: Path) -> dict[str, str]:
    """An environment in which `tfl` writes down its words and its TF_CONFIG, and ends with the code TFL_CODE."""
    programs = {
        "tfl": 'printf "%s\\n" "$TF_CONFIG" > "$KEPT/TF_CONFIG"; printf "%s\\n" "$@" > "$KEPT/words"; exit "${TFL_CODE:-0}"',
        "srun": 'shift; exec "$@"',
        "scontrol": 'echo "$@"',
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    places = {"HOME": "/home/me", "SCRATCH": "/scratch/me", "KEPT": str(tmp_path)}
    return {"PATH": f"{tmp_path}:{os.environ['PATH']}", **places}


def test_the_pods_of_the_kubernetes_example_find_each_other(stand_ins: dict[str, str], tmp_path: Path) -> None:
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text(encoding="utf-8"))
    assert [service["kind"], job["kind"], job["apiVersion"]] == ["Service", "Job", "batch/v1"]
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    assert service["spec"]["clusterIP"] == "None"  # headless: each pod has a name of its own
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]
    assert pod["restartPolicy"] == "OnFailure"
    (port,) = [port["port"] for port in service["spec"]["ports"]]
    assert [port] == [one["containerPort"] for one in container["ports"]]
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    for index in range(spec["completions"]):
        words = [*container["command"], *container["args"]]
        subprocess.run(words, env={**stand_ins, "JOB_COMPLETION_INDEX": str(index)}, check=True)
        config = json.loads((tmp_path / "TF_CONFIG").read_text())
        assert config["cluster"] == {"worker": [f"{name}-{at}.{pod['subdomain']}:{port}" for at in range(spec["completions"])]}
        assert config["task"] == {"type": "worker", "index": index}
    check((tmp_path / "words").read_text().splitlines())
    assert "distribute=multi_worker" in (tmp_path / "words").read_text().splitlines()


@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [(0, 0, False), (75, 0, True), (137, 3, True), (143, 0, True), (75, 10, False), (2, 0, False)],
)
def test_the_slurm_example_is_queued_again_where_that_helps(
    code: int, restarts: int, requeued: bool, stand_ins: dict[str, str], tmp_path: Path
) -> None:
    script = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", script], check=True)
    env = {**stand_ins, "TFL_CODE": str(code), "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": str(restarts)}
    done = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == ("requeue 7\n" if requeued else "")
    check((tmp_path / "words").read_text().splitlines())


def test_the_slurm_example_asks_for_what_it_needs() -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?$", (EXAMPLES / "slurm.sh").read_text(), re.MULTILINE))
    assert (asked["nodes"], asked["ntasks-per-node"]) == ("2", "1")
    assert re.fullmatch(r"TERM@\d+", asked["signal"])  # to the step, and not to the shell alone (B:)
    assert {"requeue", "open-mode"} <= asked.keys()
