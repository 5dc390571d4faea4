"""l2: scikit-learn's normalize as oracle; lengths at the limits of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from imprint_sweep.imprinting.norm.l2 import L2_NORM

Vectors = NDArray[np.float32]

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
with_ties = st.one_of(st.sampled_from([0.0, 0.0, 0.5, 1.0]), st.floats(-4, 4, width=32))


def vectors(n: int, d: int, seed: int = 0) -> Vectors:
    """Like a network's last features: behind a ReLU."""
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


def test_l2_by_hand() -> None:
    np.testing.assert_array_equal(
        L2_NORM.rows(np.array([[3, 4], [0, -2], [0, 0]], dtype=np.float32)),
        np.array([[0.6, 0.8], [0, -1], [0, 0]], dtype=np.float32),
    )


def test_l2_agrees_with_scikit_learn() -> None:
    x = vectors(50, 200)
    unit = L2_NORM.rows(x)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, normalize(x.astype(np.float64)), rtol=2**-23)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 4), st.integers(1, 6)), elements=finite))
def test_l2_gives_unit_rows_or_zero_rows_for_all_finite_numbers(x: Vectors) -> None:
    unit = L2_NORM.rows(x)
    assert np.isfinite(unit).all()
    lengths = np.linalg.norm(unit.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths, x.any(axis=1), rtol=1e-6)


@pytest.mark.parametrize("value", [np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal])
def test_l2_neither_overflows_nor_vanishes(value: np.float32) -> None:
    np.testing.assert_array_equal(
        L2_NORM.rows(np.full((1, 4), value, dtype=np.float32)), np.full((1, 4), 0.5, dtype=np.float32)
    )


@pytest.mark.parametrize("d", [1, 3, 64, 1280])
def test_a_row_has_the_same_bits_whatever_stands_beside_it(d: int) -> None:
    x = vectors(37, d, seed=d)
    whole = L2_NORM.rows(x)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(L2_NORM.rows(x[order]), whole[order])
    np.testing.assert_array_equal(L2_NORM.rows(np.asfortranarray(x)), whole)
    np.testing.assert_array_equal(L2_NORM.rows(x[5:29:3]), whole[5:29:3])
    for i in range(len(x)):
        np.testing.assert_array_equal(L2_NORM.rows(x[i : i + 1])[0], whole[i])


@given(hnp.arrays(np.float32, (3, 5), elements=st.floats(-8, 8, width=16)), st.integers(-20, 20))
def test_l2_does_not_see_the_scale(x: Vectors, exponent: int) -> None:
    np.testing.assert_array_equal(L2_NORM.rows(x * np.float32(2.0**exponent)), L2_NORM.rows(x))


def test_l2_reads_a_memory_map_and_leaves_it(tmp_path: Path) -> None:
    x = vectors(6, 8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    unit = L2_NORM.rows(mapped)
    assert type(unit) is np.ndarray
    np.testing.assert_array_equal(unit, L2_NORM.rows(x))
    np.testing.assert_array_equal(mapped, x)
