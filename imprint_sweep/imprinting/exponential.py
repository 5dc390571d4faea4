"""Exponential and logarithm from additions, multiplications and divisions alone, for compiled code.

A processor and a version of a mathematical library each have their own last bits of ``exp`` and ``log``. IEEE 754 fixes
those of the four operations, so these two give the same bits everywhere. Both are within 3 units in the last place.
"""

from __future__ import annotations

import math

import numpy as np

from imprint_sweep.imprinting.compiled import compiled

# ln 2 in two parts: the product of the first with a whole number below 2^20 is exact.
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_LOG2_E = 1.4426950408889634
_SMALLEST = -708.0
_POWERS = 2.0 ** -np.arange(1023.0)
_ROOT_HALF, _SMALL = 0.7071067811865476, 0.4142135623730951


@compiled()
def exponential(x):  # type: ignore[no-untyped-def]
    """exp(x) of x <= 0; below -708, where float64's normal numbers end, that of -708. Loops of it are vectorised."""
    x = max(x, _SMALLEST)
    n = np.floor(0.5 - x * _LOG2_E)
    r = (x + n * _LN2_HIGH) + n * _LN2_LOW
    # Taylor's series: |r| is below 0.35, so the first term left out is below 2^-57.
    series = 1.0 / 6227020800.0
    series = series * r + 1.0 / 479001600.0
    series = series * r + 1.0 / 39916800.0
    series = series * r + 1.0 / 3628800.0
    series = series * r + 1.0 / 362880.0
    series = series * r + 1.0 / 40320.0
    series = series * r + 1.0 / 5040.0
    series = series * r + 1.0 / 720.0
    series = series * r + 1.0 / 120.0
    series = series * r + 1.0 / 24.0
    series = series * r + 1.0 / 6.0
    series = series * r + 0.5
    series = series * r + 1.0
    series = series * r + 1.0
    return series * _POWERS[np.uint64(n)]


@compiled()
def logarithm_of_one_plus(x):  # type: ignore[no-untyped-def]
    """log(1 + x) of a finite x >= 0, also where x is too small to change 1."""
    exponent = 0
    if x < _SMALL:
        s = x / (2.0 + x)
    else:
        fraction, exponent = math.frexp(1.0 + x)
        if fraction < _ROOT_HALF:
            fraction *= 2.0
            exponent -= 1
        s = (fraction - 1.0) / (fraction + 1.0)
    # log((1 + s) / (1 - s)) = 2 (s + s^3 / 3 + s^5 / 5 + ...), and |s| is below 0.172.
    square = s * s
    series = 0.0
    for k in range(23, 1, -2):
        series = (series + 1.0 / k) * square
    return exponent * _LN2_HIGH + (2.0 * (s + s * series) + exponent * _LN2_LOW)
