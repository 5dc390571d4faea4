"""What holds for every generator that chooses k samples."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import GENS
from imprint_sweep.imprinting.gen.cov_max import cov_max
from imprint_sweep.imprinting.gen.random import draw

Samples = NDArray[np.float32]
Indices = NDArray[np.int64]
Rule = Callable[[Samples, int], Indices]


def rules() -> dict[str, Rule]:
    """The rules of the generators that are there."""

    def farthest(x: Samples, k: int) -> Indices:
        fps: Any = import_module("imprint_sweep.imprinting.gen.fps")
        first = int(np.random.default_rng(3).integers(len(x)))
        order: Indices = fps.farthest_first(x, k, [first])[0] if len(x) > k else np.arange(len(x))
        return order

    def drawn(x: Samples, k: int) -> Indices:
        return draw(len(x), k, np.random.default_rng(3))

    found: dict[str, Rule] = {"random": drawn, "cov_max": cov_max}
    return found | ({"fps": farthest} if "fps" in GENS else {})


RULES = rules()
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())

small = hnp.arrays(np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.integers(-3, 3).map(float))
"""Few different values: ties, duplicates and zero vectors are common, and float64 sums of them exact."""


def samples(n: int, d: int, seed: int = 0) -> Samples:
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


@every_rule
@given(small, st.integers(1, 14))
def test_chooses_k_different_samples_or_all_in_order(rule: Rule, x: Samples, k: int) -> None:
    x.flags.writeable = False
    chosen = rule(x, k)
    assert chosen.dtype == np.int64
    assert len(set(chosen)) == len(chosen) == min(k, len(x))
    assert set(chosen) <= set(range(len(x)))
    if len(x) <= k:
        np.testing.assert_array_equal(chosen, np.arange(len(x)))


@every_rule
@given(small, st.integers(1, 11))
def test_a_smaller_k_chooses_the_first_of_a_larger(rule: Rule, x: Samples, k: int) -> None:
    if k + 1 < len(x):
        np.testing.assert_array_equal(rule(x, k), rule(x, k + 1)[:k])


@every_rule
@given(small, st.integers(1, 11), st.integers(-30, 30))
def test_does_not_see_the_scale(rule: Rule, x: Samples, k: int, exponent: int) -> None:
    np.testing.assert_array_equal(rule(x, k), rule(x * np.float32(2.0**exponent), k))


@every_rule
def test_reads_a_memory_map_and_leaves_it(rule: Rule, tmp_path: Path) -> None:
    x = samples(20, 8)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(rule(mapped, 5), rule(x, 5))
    np.testing.assert_array_equal(mapped, samples(20, 8))
