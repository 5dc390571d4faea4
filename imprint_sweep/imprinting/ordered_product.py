"""The product of two matrices in one fixed order of summation, as fast as a library's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled

_COLUMNS = 64


def ordered_product(x: NDArray[Any], matrix: NDArray[Any]) -> NDArray[np.float64]:
    """The product of rows and a matrix; each element is summed in float64 from the first feature to the last.

    A row's result depends on that row alone, to the last bit: BLAS chooses its order of summation by the shape, by
    where in it a row stands, and by the processor. Rows of zeros at the end of 64 columns take no time, so an upper
    triangular matrix takes half of it.

    Args:
        x: (n, d) finite float64 or float32, C-contiguous.
        matrix: (d, r) finite float64 or float32, C-contiguous.

    Returns:
        (n, r) float64.
    """
    out = np.empty((len(x), matrix.shape[1]))
    _multiply(x, matrix, out)
    return out


@compiled()
def _multiply(x, matrix, out):  # type: ignore[no-untyped-def]
    # 4 rows x 4 features at a time: a number that is loaded takes part in four products, and sums are loaded and stored
    # once for four of them. A copy of 64 columns stays in the processor's cache while all rows pass.
    n, d = x.shape
    r = matrix.shape[1]
    s0, s1, s2, s3 = np.empty(_COLUMNS), np.empty(_COLUMNS), np.empty(_COLUMNS), np.empty(_COLUMNS)
    panel = np.zeros((d, _COLUMNS))
    for j in range(0, r, _COLUMNS):
        w = min(_COLUMNS, r - j)
        stop = 0
        for f in range(d):
            for c in range(w):
                panel[f, c] = matrix[f, j + c]
                if matrix[f, j + c] != 0.0:
                    stop = f + 1
        whole = stop - stop % 4
        for i in range(0, n, 4):
            i1, i2, i3 = min(i + 1, n - 1), min(i + 2, n - 1), min(i + 3, n - 1)
            q0, q1, q2, q3 = x[i], x[i1], x[i2], x[i3]
            s0[:] = 0.0
            s1[:] = 0.0
            s2[:] = 0.0
            s3[:] = 0.0
            for f in range(0, whole, 4):
                a0, a1, a2, a3 = q0[f], q0[f + 1], q0[f + 2], q0[f + 3]
                b0, b1, b2, b3 = q1[f], q1[f + 1], q1[f + 2], q1[f + 3]
                c0, c1, c2, c3 = q2[f], q2[f + 1], q2[f + 2], q2[f + 3]
                d0, d1, d2, d3 = q3[f], q3[f + 1], q3[f + 2], q3[f + 3]
                m0, m1, m2, m3 = panel[f], panel[f + 1], panel[f + 2], panel[f + 3]
                for c in range(_COLUMNS):
                    s0[c] = (((s0[c] + a0 * m0[c]) + a1 * m1[c]) + a2 * m2[c]) + a3 * m3[c]
                    s1[c] = (((s1[c] + b0 * m0[c]) + b1 * m1[c]) + b2 * m2[c]) + b3 * m3[c]
                    s2[c] = (((s2[c] + c0 * m0[c]) + c1 * m1[c]) + c2 * m2[c]) + c3 * m3[c]
                    s3[c] = (((s3[c] + d0 * m0[c]) + d1 * m1[c]) + d2 * m2[c]) + d3 * m3[c]
            for f in range(whole, stop):
                for c in range(_COLUMNS):
                    s0[c] += q0[f] * panel[f, c]
                    s1[c] += q1[f] * panel[f, c]
                    s2[c] += q2[f] * panel[f, c]
                    s3[c] += q3[f] * panel[f, c]
            out[i, j : j + w] = s0[:w]
            out[i1, j : j + w] = s1[:w]
            out[i2, j : j + w] = s2[:w]
            out[i3, j : j + w] = s3[:w]
