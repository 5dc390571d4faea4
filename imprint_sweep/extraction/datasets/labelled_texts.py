"""What the reader of a dataset of texts returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import DatasetError


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts and labels of one split, in the dataset's own order.

    Args:
        texts: n texts.
        labels: (n,) int64.
        source: where they were read, for the metadata of the embeddings.
        names: the name of each class, where classes have names and not only numbers.
        complete: whether these are all samples of the split; no reader of texts leaves any out.

    Raises:
        DatasetError: no texts, or not one label for each.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64]
    source: str
    names: Mapping[int, str] = field(default_factory=dict)
    complete: bool = True

    def __post_init__(self) -> None:
        if len(self.texts) == 0 or self.labels.shape != (len(self.texts),):
            raise DatasetError(f"{self.source}: {len(self.texts)} texts and labels of shape {self.labels.shape}")


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


def _is_number(name: str) -> bool:
    """Whether a name is how a 64-bit whole number is written, without leading zeros."""
    digits = name.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20):
        return False
    return str(int(name)) == name and -(2**63) <= int(name) < 2**63
