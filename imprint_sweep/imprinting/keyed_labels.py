"""Labels of samples that know from which dataset's class each comes, so that a classifier draws as a cell does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Key = tuple[tuple[str, int], ...]
"""The ordered (dataset, class) parts of a label of a task."""


class KeyedLabels(np.ndarray[Any, Any]):
    """An array of labels with the key of each; parts and copies of it keep the keys.

    Args:
        labels: (n,) labels.
        keys: from a label to its (dataset, class) parts; it may hold more labels than the array.
    """

    imprint_keys: Mapping[Any, Key]

    def __new__(cls, labels: NDArray[Any], keys: Mapping[Any, Key]) -> KeyedLabels:
        """View an array as one with keys."""
        keyed = np.asarray(labels).view(cls)
        keyed.imprint_keys = dict(keys)
        return keyed

    def __array_finalize__(self, source: object) -> None:
        """Take over the keys of what this is a part or copy of."""
        self.imprint_keys = getattr(source, "imprint_keys", {})

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickles, also those that go to workers."""
        return type(self), (np.asarray(self), dict(self.imprint_keys))


def key_of(keys: Mapping[Any, Key], label: Any) -> Key | str:
    """What the draws of a class are keyed by: the parts of its label if they are known, else the label as a text.

    >>> key_of({}, np.int64(3)), key_of({3: (("digits", 3),)}, np.int64(3))
    ('3', (('digits', 3),))
    """
    plain = label.item() if isinstance(label, np.generic) else label
    return keys.get(plain, str(plain))
