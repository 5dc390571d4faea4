"""Division by the Euclidean length."""

from __future__ import annotations

from typing import Any

import numpy as np

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import Norm, Rows


class L2(Norm):
    """Each row divided by its Euclidean length; zero rows stay zero."""

    name = "l2"
    label = "L2"
    scales = True
    unit = True

    def rows(self, x: Rows) -> Rows:
        """Divide each row by its length.

        Lengths are summed in float64, feature by feature, where no finite float32 can overflow or vanish.

        Args:
            x: (n, d) float32, finite.

        Returns:
            (n, d) float32, a new array.
        """
        unit = np.empty(x.shape, dtype=np.float32)
        _divide(np.asarray(x), unit)
        return unit

    def on_tensors(self, x: Any) -> Any:
        """Divide each row by its length; zero rows stay zero."""
        length = x.norm(dim=1, keepdim=True)
        return x / (length + (length == 0).to(length.dtype))


@compiled()
def _divide(x, unit):  # type: ignore[no-untyped-def]
    n, d = x.shape
    for i in range(n):
        squares = 0.0
        for j in range(d):
            squares += np.float64(x[i, j]) * np.float64(x[i, j])
        length = np.sqrt(squares) if squares > 0 else 1.0
        for j in range(d):
            unit[i, j] = np.float64(x[i, j]) / length


L2_NORM = L2()
