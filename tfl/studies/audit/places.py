"""Places of a grid that lies over an image."""

from __future__ import annotations

import numpy as np

Place = tuple[int, int]
"""Row and column, from 0 on."""


def edges(size: tuple[int, int], grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows and the columns of a `grid` by `grid` begin and end in an image of `size`, `[grid + 1]` pixels each."""
    rows, columns = (np.linspace(0, length, grid + 1).round().astype(int) for length in size)
    return rows, columns


def border(grid: int) -> list[Place]:
    """The places that touch the border, row by row."""
    return [place for place in np.ndindex(grid, grid) if not all(0 < at < grid - 1 for at in place)]


def in_words(place: Place, grid: int) -> str:
    """`top left corner`, `top edge`, `left edge` …"""
    rows = {0: "top", grid - 1: "bottom"}.get(place[0], "")
    columns = {0: "left", grid - 1: "right"}.get(place[1], "")
    return f"{rows} {columns} corner" if rows and columns else f"{rows or columns} edge" if rows or columns else "middle"
