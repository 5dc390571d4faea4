"""The largest score (section 3.1 of the paper)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import ClassScore


class Max(ClassScore):
    """The class of the proxy with the largest inner product, or of the nearest one under another metric."""

    name = "max"
    same_as = ("mnn", 1)
    with_one_proxy = "max"
    reads = 1

    def scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minus the value of the nearest proxy."""
        best: NDArray[np.float64] = -values.min(axis=1)
        return best

    def on_tensors(self, values: Any) -> Any:
        """Minus the value of the nearest proxy."""
        return -values.amin(dim=1)


MAX = Max()
