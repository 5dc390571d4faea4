"""The width of text before it is drawn, and lines that fit."""

from __future__ import annotations

import re
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from imprint_sweep.analysis.plots.style import FONT

LINE = 1.2
"""The height of a line in sizes of its font."""


@lru_cache(maxsize=4096)
def width(text: str, size: float) -> float:
    """The width of one line of text in points, without its padding.

    Args:
        text: the line.
        size: of the font in points.
    """
    if not text:
        return 0.0
    found = text_to_path.get_text_width_height_descent(text, FontProperties(family=FONT, size=size), ismath=False)
    return float(found[0])


def wrapped(text: str, limit: float, size: float) -> str:
    """The text in lines of at most `limit` points.

    Lines break at spaces; a word that is too long by itself breaks after ``/ _ - , =`` or, if it must, anywhere.

    Args:
        text: one line.
        limit: in points; at least one character stands in a line, whatever the limit.
        size: of the font in points.
    """
    lines: list[str] = []
    line = ""
    for word in text.split():
        candidate = f"{line} {word}" if line else word
        if width(candidate, size) <= limit:
            line = candidate
            continue
        if line:
            lines.append(line)
        *full, line = _broken(word, limit, size)
        lines += full
    return "\n".join([*lines, line]) if line else "\n".join(lines)


def _broken(word: str, limit: float, size: float) -> list[str]:
    """A word in pieces that fit."""
    pieces: list[str] = []
    piece = ""
    for part in re.findall(r"[^/_\-,=]*[/_\-,=]|[^/_\-,=]+", word):
        parts = [part] if width(part, size) <= limit else list(part)
        for atom in parts:
            if piece and width(piece + atom, size) > limit:
                pieces.append(piece)
                piece = ""
            piece += atom
    return [*pieces, piece]
