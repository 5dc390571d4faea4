"""Votes weighted by a softmax of the distances (Wu et al. 2018; Caron et al. 2021, DINO)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.agg.temperature import TEMPERATURE
from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import Weighting
from imprint_sweep.imprinting.exponential import exponential


class Softmax(Weighting):
    """exp((d_1 - d) / T), d_1 the smallest distance: for cosines that of exp(similarity / T), times a constant."""

    name = "softmax"
    parameters = (TEMPERATURE,)
    of_all = "lse"

    def weights(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """The nearest weighs 1."""
        out = np.empty(distances.shape)
        _weights(np.ascontiguousarray(distances), self["temperature"], out)
        return out

    def on_tensors(self, distances: Any) -> Any:
        """The weights of distances, nearest first."""
        return ((distances[:, :1] - distances) / self["temperature"]).exp()


@compiled()
def _weights(distances, temperature, out):  # type: ignore[no-untyped-def]
    for q in range(distances.shape[0]):
        for i in range(distances.shape[1]):
            out[q, i] = exponential((distances[q, 0] - distances[q, i]) / temperature)


SOFTMAX = Softmax()
