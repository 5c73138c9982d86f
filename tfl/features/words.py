"""Sizes and times in words."""

from __future__ import annotations

import time


def size(count: float) -> str:
    """Bytes in words: 1.2 GB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def age(used: float) -> str:
    """How long ago `used` (seconds since 1970) was."""
    seconds = max(0.0, time.time() - used)
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name} ago"
    return f"{seconds / 86400:.0f} days ago"
