"""What a config says of a backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tfl.config import require

PREPROCESS = "preprocess.json"
"""The file of a folder that describes a saved preprocessing."""

Pooling = Literal["auto", "avg", "max", "cls", "mean"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """A pre-trained network and the weights it starts from."""

    name: str
    """Key of the table (`tfl list backbones`), a KerasHub preset, or a folder, hf://, kaggle:// or package:// handle.
    """
    weights: str = "pretrained"
    """pretrained | none | imagenet | a file | a folder | package://module/path | hf://… | kaggle://… | a TF Hub handle.
    """
    pooling: Pooling = "auto"
    """How the map or the sequence becomes one vector: avg or max for images; mean, cls or max for texts."""
    image_size: int | None = None
    """Pixels, of both sides of the square input; null: the network's natural size."""
    sequence_length: int | None = None
    """Tokens, at most, special ones included; null: what the model's files say, at most 256."""

    def __post_init__(self) -> None:
        size, length = self.image_size, self.sequence_length
        require(
            self,
            {
                "name": (bool(self.name.strip()), "a backbone has a name (`tfl list backbones`)"),
                "weights": (bool(self.weights.strip()), "pretrained, none, a file, a folder or a handle"),
                "image_size": (size is None or size >= 32, "at least 32 pixels, or null"),
                "sequence_length": (length is None or length >= 4, "at least 4 tokens, or null"),
            },
        )
