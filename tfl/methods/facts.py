"""What a report says of the data, the releases and the machine of a run."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from tfl.data.splits import Splits
from tfl.features import engine


def describe_data(splits: Splits) -> dict[str, Any]:
    """What a report says of the data."""
    return {
        "fingerprint": splits.fingerprint,
        "sizes": splits.sizes,
        "class_counts": splits.class_counts,
        "unreadable": [{"id": bad.id, "reason": bad.reason} for bad in splits.unreadable],
        "duplicates": [list(pair) for pair in splits.duplicates],
    }


def versions() -> dict[str, str]:
    """The releases of everything that can change a value."""
    names = ["tfl", "tensorflow", "keras", "keras-hub", "tensorflow-text", "numpy"]
    names += ["openvino"] if engine.installed() else []
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def hardware(strategy: Any) -> dict[str, Any]:
    """What the run ran on."""
    import os

    from tfl.lazy import tf

    gpus = [device.name for device in tf.config.list_physical_devices("GPU")]
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
        "strategy": type(strategy).__name__,
        "replicas": strategy.num_replicas_in_sync,
    }
