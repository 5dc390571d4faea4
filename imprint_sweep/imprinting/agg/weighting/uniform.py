"""One vote each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import Weighting


class Uniform(Weighting):
    """One vote each, near or far."""

    name = "uniform"

    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ones."""
        return np.ones_like(distances)


UNIFORM = Uniform()
