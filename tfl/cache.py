"""Where tfl keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The environment variable TFL_CACHE, or else tfl/features in the user's cache folder."""
    if os.environ.get("TFL_CACHE"):
        return Path(os.environ["TFL_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tfl" / "features"
