"""From an interval to words. Nothing but the interval decides."""

from __future__ import annotations

from typing import Literal

Verdict = Literal["helped", "no difference", "hurt"]


def verdict(low: float, high: float) -> Verdict:
    """What the interval of the difference, method minus scratch, from `low` to `high` shows."""
    if low > 0:
        return "helped"
    return "hurt" if high < 0 else "no difference"


def advice(found: Verdict, low: float, high: float) -> str:
    """What follows from it for the user; "" where it helped."""
    if found == "helped":
        return ""
    if found == "hurt":
        return (
            "negative transfer: what was learnt before stands in the way. Train more of the backbone (a lower cut: "
            "--methods full, or {last: N} in a config's phases), choose a backbone that was trained on something nearer, or "
            "train from scratch"
        )
    return (
        f"the data leaves room for anything from {low:+.3f} to {high:+.3f}; more seeds, more test examples or a larger budget "
        f"narrow it. Until then go by cost: take what trains in less time"
    )
