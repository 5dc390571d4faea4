"""Numbers for classes that have names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from imprint_sweep.embeddings.cache import CLASS_NAMES


def numbered(names: Iterable[str]) -> dict[str, int]:
    """The number of each class: its own where every name is a whole number, else 0, 1, 2, ... in the order of names.

    The order is that of Python's strings (code points), so capitals come before small letters.

    >>> numbered(["sport", "Arts", "sport"]), numbered(["10", "9"])
    ({'Arts': 0, 'sport': 1}, {'9': 9, '10': 10})
    """
    distinct = set(names)
    if all(map(_is_number, distinct)):
        return {str(number): number for number in sorted(map(int, distinct))}
    return {name: number for number, name in enumerate(sorted(distinct))}


def names_of(numbers: Mapping[str, int]) -> dict[int, str]:
    """The name of each class that is called anything but its number.

    >>> names_of({"Arts": 0, "sport": 1}), names_of({"9": 9})
    ({0: 'Arts', 1: 'sport'}, {})
    """
    return {number: name for name, number in numbers.items() if name != str(number)}


def names_metadata(names: Mapping[int, str]) -> dict[str, str]:
    """What an entry of the cache says of the names of its classes; nothing if they have none."""
    return {CLASS_NAMES: json.dumps(dict(names), ensure_ascii=False)} if names else {}


def _is_number(name: str) -> bool:
    """Whether a name is how a 64-bit whole number is written, without leading zeros."""
    digits = name.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        return False
    return str(int(name)) == name and -(2**63) <= int(name) < 2**63
