"""The log-sum-exp of a class's proxies: a maximum that all of them have a share in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.agg.temperature import TEMPERATURE
from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.components import ClassScore
from imprint_sweep.imprinting.exponential import exponential, logarithm_of_one_plus


class LogSumExp(ClassScore):
    """T log of the sum of exp(-d / T) over a class's proxies; max is the limit for small T.

    The class with the largest is that of the largest posterior, if every proxy is the centre of an exponential
    (Euclidean distance) or of a von Mises-Fisher density (inner products of unit vectors), all of one width.
    """

    name = "lse"
    label = "log-sum-exp"
    parameters = (TEMPERATURE,)
    with_one_proxy = "max"

    def scores(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """T log(1 + sum exp((d_1 - d) / T)) - d_1: d_1 is the nearest, the sum of the others is in their order."""
        out = np.empty(len(values))
        _log_sum_exp(np.ascontiguousarray(values), self["temperature"], out)
        return out

    def on_tensors(self, values: Any) -> Any:
        """T log sum exp(-d / T)."""
        return self["temperature"] * (-values / self["temperature"]).logsumexp(dim=1)


@compiled()
def _log_sum_exp(values, temperature, out):  # type: ignore[no-untyped-def]
    terms = np.empty(values.shape[1])
    for q in range(values.shape[0]):
        row = values[q]
        first = row.argmin()
        nearest = row[first]
        for i in range(terms.shape[0]):  # apart from the sum, whose order is fixed, they are made several at a time
            terms[i] = exponential((nearest - row[i]) / temperature)
        terms[first] = 0.0
        total = 0.0
        for i in range(terms.shape[0]):
            total += terms[i]
        out[q] = temperature * logarithm_of_one_plus(total) - nearest


LSE = LogSumExp()
