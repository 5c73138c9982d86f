"""Heavy libraries, imported when first used, so that `import tfl` and `tfl --help` are instant.

`from tfl.lazy import keras, tf` costs nothing; the first attribute access imports the library, quietly: the C++ log of
TensorFlow is silenced unless `TF_CPP_MIN_LOG_LEVEL` says otherwise (`tfl -v` sets it to 0).
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any


class _Lazy:
    """Stands for a module until an attribute is asked of it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        module = importlib.import_module(self._name)
        value = getattr(module, attribute)
        setattr(self, attribute, value)  # the next access is a plain attribute
        return value


if TYPE_CHECKING:
    import keras
    import keras_hub
    import pandas as pd
    import tensorflow as tf
else:
    keras = _Lazy("keras")
    keras_hub = _Lazy("keras_hub")
    pd = _Lazy("pandas")
    tf = _Lazy("tensorflow")

__all__ = ["keras", "keras_hub", "pd", "tf"]
