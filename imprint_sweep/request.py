"""Requested rows as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.cell import Model, Scheme, Task


@dataclass(frozen=True, eq=False)
class Request:
    """What a sweep asks for, a row per combination, repeated ones included.

    Args:
        models, tasks, schemes: each distinct once.
        model, task, scheme: (n,) int32 indices into them, in the order of the blocks and of the product.
        excluded: combinations left out by conditions of an experiment.
        invalid: combinations that are an error as a single cell, and how many, by reason.
        axes: names of the swept axes, in order.
    """

    models: Sequence[Model]
    tasks: Sequence[Task]
    schemes: Sequence[Scheme]
    model: NDArray[np.int32]
    task: NDArray[np.int32]
    scheme: NDArray[np.int32]
    excluded: int = 0
    invalid: Mapping[str, int] = field(default_factory=dict)
    axes: tuple[str, ...] = ()
