"""random: NumPy's permutation as oracle."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from imprint_sweep.imprinting.gen.random import draw

Samples = NDArray[np.float32]

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


def test_random_is_the_beginning_of_one_permutation() -> None:
    expected = np.random.default_rng(5).permutation(30)[:4]
    np.testing.assert_array_equal(draw(30, 4, np.random.default_rng(5)), expected)
