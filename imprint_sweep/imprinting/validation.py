"""The validation split: a fifth of the training samples of each class, held out to choose by (method, section 2)."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import InvalidCellError

N = TypeVar("N", int, NDArray[np.float64])

PARTS = 5
"""One of so many parts is held out, so a class needs as many samples."""


def trained(n_samples: N) -> N:
    """Samples of a class that are left to train on: four fifths, rounded up.

    >>> [trained(n) for n in (5, 6, 9, 10)]
    [4, 5, 8, 8]
    """
    return n_samples - n_samples // PARTS


def hold_out(n_samples: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the samples of a class: a fifth of them, rounded down, is held out.

    Args:
        n_samples: samples of the class, at least :data:`PARTS`.
        rng: the stream of this split and of nothing else.

    Returns:
        The positions to train on, (trained(n_samples),) int64, and those to test on, both in ascending order.

    >>> [positions.tolist() for positions in hold_out(6, np.random.default_rng(0))]
    [[0, 1, 2, 4, 5], [3]]
    """
    order = rng.permutation(n_samples)
    held_out = n_samples // PARTS
    return np.sort(order[held_out:]), np.sort(order[:held_out])


CHOSEN = "chosen"
"""The value of a parameter that is chosen by samples that are held out of those that a gen is given."""


def check_chosen(key: str, value: object, max_samples: int | None) -> None:
    """Refuse to choose a parameter where no sample can be held out.

    Args:
        key: what the parameter is called on the command line.
        value: its value.
        max_samples: the most samples of a class; None if only the data can tell.

    Raises:
        InvalidCellError: it is to be chosen, by samples that there are not.
    """
    if value == CHOSEN and max_samples is not None and max_samples < PARTS:
        raise InvalidCellError(
            f"{key}={CHOSEN} holds out a fifth of the training samples of each label, so it needs {PARTS} of them, and "
            f"n_shot leaves {max_samples}; give a number, as in {key}=1, or raise n_shot"
        )


def nothing_held_out(key: str) -> str:
    """The error for a parameter that cannot be chosen, as no class has enough samples.

    Args:
        key: as for :func:`check_chosen`.
    """
    return (
        f"{key}={CHOSEN} holds out a fifth of the training samples of each label, and no label has {PARTS}; give a "
        f"number, as in {key}=1"
    )
