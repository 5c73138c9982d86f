"""What `tfl cache` prints of a store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from tfl.features.store import Info, Store
from tfl.features.words import age, size


def listed(store: Store, infos: Sequence[Info]) -> Any:
    """A table of entries, the last used first, and what all of them take."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("key", "model", "stored up to", "row", "view", "engine", "size", "used", box=None)
    for info in infos:
        about = info.about
        view = (about.get("rows") or {}).get("view")
        table.add_row(
            info.key[:12],
            str(about.get("backbone", "")),
            str(about.get("up_to", "")),
            " + ".join(" × ".join(map(str, shape)) for shape in about.get("shapes", ())),
            "–" if view is None else str(view["number"]),
            str((about.get("environment") or {}).get("engine", [""])[0]),
            size(info.bytes),
            age(info.used),
        )
    total = f"{size(sum(info.bytes for info in infos))} in {len(infos)} entries below {store.root}"
    return Group(*([table] if infos else []), Text(total))


def described(store: Store, infos: Sequence[Info]) -> Any:
    """All that is known of each entry: how many rows it has, and everything that its key is made of."""
    from rich.console import Group
    from rich.text import Text

    lines = []
    for info in infos:
        lines += [f"{info.key}", f"  rows: {store.rows(info.key)} in {info.shards} files, {size(info.bytes)}"]
        lines += [f"  used: {time.strftime('%Y-%m-%d %H:%M', time.localtime(info.used))}"]
        lines += [f"  {name}: {value}" for name, value in info.about.items()]
    return Group(*map(Text, lines or [f"nothing is stored below {store.root}"]))


def verify(store: Store, infos: Sequence[Info]) -> int:
    """Reads every byte; the exit code is 1 where something was damaged."""
    bad = 0
    for info in infos:
        whole, damaged = store.verify(info.key)
        bad += damaged
        print(f"{info.key[:12]}  {whole} files whole" + (f", {damaged} damaged and removed" if damaged else ""))
    print("all is whole" if not bad else f"{bad} damaged files removed; what they held is computed again when it is needed")
    return 1 if bad else 0


def clear(store: Store, infos: Sequence[Info]) -> int:
    """Removes entries; the exit code is 1 where one is in use and stays."""
    gone = [info for info in infos if store.remove(info.key)]
    print(f"{len(gone)} entries removed, {size(sum(info.bytes for info in gone))}")
    left = [info.key[:12] for info in infos if info not in gone]
    if left:
        print(f"in use and left: {', '.join(left)}")
    return 1 if left else 0
