"""The product in a fixed order: term by term the same bits, whatever else is computed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imprint_sweep.imprinting.ordered_product import ordered_product

Float64 = NDArray[np.float64]


def term_by_term(x: Float64, matrix: Float64) -> Float64:
    """The definition: one feature after another."""
    total = np.zeros((len(x), matrix.shape[1]))
    for feature, row in enumerate(matrix):
        total += x[:, feature, None] * row
    return total


@given(
    st.integers(0, 2**32),
    st.integers(1, 9),
    st.sampled_from([1, 3, 4, 63, 64, 65, 130]),
    st.sampled_from([1, 2, 64, 65, 129]),
    st.booleans(),
    st.sampled_from([np.float32, np.float64]),
)
def test_every_element_is_the_sum_from_the_first_feature_to_the_last(
    seed: int, n: int, d: int, r: int, upper: bool, dtype: type[np.floating]
) -> None:
    rng = np.random.default_rng(seed)
    x, matrix = rng.normal(size=(n, d)).astype(dtype), rng.normal(size=(d, r)).astype(dtype)
    if upper:
        matrix = np.triu(matrix)
    found = ordered_product(x, matrix)
    np.testing.assert_array_equal(found, term_by_term(x.astype(np.float64), matrix.astype(np.float64)))
    some = rng.permutation(n)[: n // 2]
    np.testing.assert_array_equal(ordered_product(x[some], matrix), found[some])


@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 5, 0), (4, 0, 3)])
def test_nothing_times_anything_is_zero(shape: tuple[int, int, int]) -> None:
    n, d, r = shape
    np.testing.assert_array_equal(ordered_product(np.ones((n, d)), np.ones((d, r))), np.zeros((n, r)))
