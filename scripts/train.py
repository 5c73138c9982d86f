"""Train from a config: `python scripts/train.py [--config YAML] [KEY=VALUE …]`, as `tfl train` does.

With no argument: the default job, a BERT fine-tuned on the earnings-call sentences that come with tfl.
"""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from tfl.cli import main

ROOT = Path(__file__).resolve().parents[1]


def default_job() -> list[str]:
    """The arguments of the default job: its config, a new directory for the run, and an export beside it."""
    run = f"runs/earnings_calls-{datetime.now():%Y%m%d-%H%M%S}"
    config = ROOT / "configs" / "finetune" / "earnings_calls_minilm.yaml"
    return ["train", str(config), "--out", run, "--export", f"{run}/export"]


if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]] if sys.argv[1:] else default_job()))
