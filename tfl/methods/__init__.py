"""Ways of transferring. Each is a module with a `Config` and `run(config, out) -> Run`; `METHODS` names them."""

from __future__ import annotations

from tfl.methods import finetune

METHODS = {"finetune": finetune}

__all__ = ["METHODS"]
