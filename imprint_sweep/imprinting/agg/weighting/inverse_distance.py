"""Votes weighted by inverse distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import Weighting

SMALLEST = 1e-10
"""Added to a distance before it is inverted."""


class InverseDistance(Weighting):
    """1 / (distance + 1e-10)."""

    name = "inverse_distance"
    label = "inverse distance"

    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The inverse of each distance."""
        inverse: NDArray[np.float64] = 1.0 / (distances + SMALLEST)
        return inverse

    def on_tensors(self, distances: Any) -> Any:
        """The inverse of each distance."""
        return 1.0 / (distances + SMALLEST)


INVERSE_DISTANCE = InverseDistance()
