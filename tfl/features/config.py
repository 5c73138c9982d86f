"""What a config says of the store of frozen activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfl.config import UserError, require


@dataclass(frozen=True, kw_only=True)
class Features:
    """How what a phase leaves frozen is computed once and kept on disk."""

    views: int | Literal["auto"] = "auto"
    """Augmented views of each training example that are stored, which the epochs go through in turn; 1: the example as it
    is. auto: 2, or 4 where the config says how to augment; 1 where nothing is augmented."""
    view_seed: int = 0
    """Decides the views. Runs with another `seed` share the views of one `view_seed`."""
    engine: Literal["auto", "tensorflow", "openvino"] = "auto"
    """What runs the frozen part. auto: for 1,000 rows or more OpenVINO, on a CPU where it is installed and agrees with
    TensorFlow; with several workers TensorFlow."""
    dtype: Literal["float32", "float16"] = "float32"
    """What float32 activations are stored as; float16 halves the disk space and rounds to 3 decimal digits."""
    disk_budget: float | str = 0.5
    """What the whole store may take: a fraction, 0 to 1, of the disk space that is free or the store's already, or a size
    such as 20GB. What was used last stays longest."""
    directory: str | None = None
    """Where the store is; null: the environment variable TFL_CACHE, or else tfl/features in the user's cache folder."""

    def __post_init__(self) -> None:
        require(
            self,
            {
                "views": (self.views == "auto" or int(self.views) >= 1, "auto, or at least 1"),
                "disk_budget": (
                    isinstance(self.disk_budget, str) or 0 < self.disk_budget <= 1,
                    "a fraction above 0, at most 1, or a size such as 20GB",
                ),
            },
        )
        size_of(self.disk_budget, 0)


def size_of(budget: float | str, space: int) -> int:
    """`budget` in bytes, at most the `space` that is there to be used. Raises `UserError` for a size that is none."""
    if not isinstance(budget, str):
        return int(budget * space)
    import pydantic

    try:
        return min(int(pydantic.TypeAdapter(pydantic.ByteSize).validate_python(budget)), space)
    except pydantic.ValidationError as error:
        raise UserError(f"disk_budget: {budget!r} is not valid; a fraction such as 0.5, or a size such as 20GB") from error
