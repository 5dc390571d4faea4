"""How numbers of things and durations are written in sentences, and text that came from elsewhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence

_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what has no shape of its own: controls, formats, half pairs, separators of lines."""
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Formats without which words of some scripts cannot be written."""


def counted(number: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "cell"), counted(2000, "cell")
    ('1 cell', '2,000 cells')
    """
    return f"{number:,} {named(number, thing)}"


def named(number: int, thing: str) -> str:
    """The name of one thing or of several.

    >>> named(1, "cell"), named(0, "cell")
    ('cell', 'cells')
    """
    return f"{thing}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """A duration as people say it.

    >>> duration(0.4), duration(42), duration(190), duration(7300)
    ('0.4 s', '42 s', '3 min', '2.0 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def padded(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[list[str]]:
    """The cells of a table, those of a column equally wide.

    Args:
        rows: at least one, all of the same length; heads are a row, too.
        right: columns whose text stands at the right, as numbers do.

    >>> padded([["k", "cells"], ["20", "7"]], right={1})
    [['k ', 'cells'], ['20', '    7']]
    """
    columns = []
    for i, column in enumerate(zip(*rows, strict=True)):
        width = max(map(len, column))
        columns.append([cell.rjust(width) if i in right else cell.ljust(width) for cell in column])
    return [list(row) for row in zip(*columns, strict=True)]


def aligned(rows: Sequence[Sequence[str]], right: Collection[int]) -> list[str]:
    """The lines of a table for a terminal; for the arguments see :func:`padded`.

    >>> aligned([["k", "cells"], ["20", "7"]], right={1})
    ['k   cells', '20      7']
    """
    return ["  ".join(cells).rstrip() for cells in padded(rows, right)]


def visible(text: str) -> str:
    """Text in which every character can be seen: what cannot be shown is escaped, but for line breaks.

    A terminal obeys control characters, XML holds none of them, and marks of direction make a name look like another.

    >>> visible("a\\x1b[31mb"), visible("naïve\\u202e"), visible("one\\ntwo")
    ('a\\\\x1b[31mb', 'naïve\\\\u202e', 'one\\ntwo')
    """
    if text.isprintable():
        return text
    return "".join(character if _is_visible(character) else _escaped(character) for character in text)


def _is_visible(character: str) -> bool:
    if character.isprintable() or character in ("\n", *_JOINERS):
        return True
    code = ord(character)
    is_no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    return unicodedata.category(character) not in _INVISIBLE and not is_no_character


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
