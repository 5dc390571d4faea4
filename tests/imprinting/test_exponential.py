"""exp and log of four operations against those of NumPy in 80 bits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from imprint_sweep.imprinting.compiled import compiled
from imprint_sweep.imprinting.exponential import exponential, logarithm_of_one_plus

RNG = np.random.default_rng(0)
BELOW = -np.concatenate([[0.0, 1e-300, 1e-17, 0.3465735, 0.34658, 708.0], *(RNG.uniform(0, x, 3000) for x in (1, 708))])
ABOVE = np.concatenate([[0.0, 1e-300, 2.0**-52, 0.41421356, 0.4142136, 1.0], 10 ** RNG.uniform(-20, 12, 6000)])


def units(found: NDArray[np.float64], exact: NDArray[np.longdouble]) -> float:
    """The largest error in units of the last place."""
    return float((np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float64))).max())


@pytest.mark.parametrize(
    ("function", "oracle", "x"), [(exponential, np.exp, BELOW), (logarithm_of_one_plus, np.log1p, ABOVE)]
)
def test_within_three_units_of_the_exact_value(
    function: Callable[[float], float], oracle: np.ufunc, x: NDArray[np.float64]
) -> None:
    found = np.array([function(one) for one in x.tolist()])
    assert units(found, oracle(x.astype(np.longdouble))) <= 3.0
    order = np.argsort(x)
    assert (np.diff(found[order]) >= 0.0).all()


def test_one_and_zero_are_themselves_and_nothing_underflows() -> None:
    assert exponential(0.0) == 1.0
    assert logarithm_of_one_plus(0.0) == 0.0
    assert exponential(-np.inf) == exponential(-1e9) == exponential(-708.0) > 0.0


@compiled()
def _all(x, out):  # type: ignore[no-untyped-def]
    for i in range(x.shape[0]):
        out[i] = exponential(x[i])


def test_several_at_a_time_are_the_same_bits() -> None:
    out = np.empty_like(BELOW)
    _all(BELOW, out)
    assert out.tolist() == [exponential(one) for one in BELOW.tolist()]
