"""Codes are those of pandas, which planning does not import."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.planning.factorize import combined, factorize


@given(st.lists(st.sampled_from(["a", "b", "c", ""])))
def test_codes_count_in_order_of_first_appearance(keys: list[str]) -> None:
    codes, first = factorize(keys)
    expected, distinct = pd.factorize(np.array(keys, object))
    assert codes.tolist() == expected.tolist()
    assert [keys[i] for i in first] == list(distinct)
    assert [codes.tolist().index(code) for code in range(len(first))] == first


@given(st.integers(0, 20), st.integers(1, 6), st.sampled_from([2, 10**5, 2**31 - 1]), st.integers(0, 99))
def test_combinations_are_numbered_as_sorted_groups_however_large_the_codes(
    n: int, width: int, largest: int, seed: int
) -> None:
    columns = np.random.default_rng(seed).integers(0, largest, (width, n)).astype(np.int32)
    frame = pd.DataFrame(dict(enumerate(columns)))
    np.testing.assert_array_equal(combined(*columns), frame.groupby(list(frame), sort=True).ngroup())
