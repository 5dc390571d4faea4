"""One vote each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import Weighting


class Uniform(Weighting):
    """One vote each, near or far."""

    name = "uniform"

    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ones."""
        return np.ones_like(distances)

    def on_tensors(self, distances: Any) -> Any:
        """Ones."""
        return distances.new_ones(distances.shape)


UNIFORM = Uniform()
