"""n-shot sampling: uniform, nested, without replacement."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.grid.cell import stage_seed
from imprint_sweep.imprinting.n_shot import draw

seeds = st.integers(0, 2**64)


@given(st.integers(1, 200), st.integers(1, 250), seeds)
def test_draws_distinct_samples_in_ascending_order(n: int, n_shot: int, seed: int) -> None:
    chosen = draw(n, n_shot, np.random.default_rng(seed))
    assert chosen.dtype == np.int64
    assert len(chosen) == min(n, n_shot)
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < n


@given(st.integers(1, 200), st.integers(1, 100), st.integers(0, 100), seeds)
def test_fewer_shots_are_contained_in_more(n: int, n_shot: int, more: int, seed: int) -> None:
    few = draw(n, n_shot, np.random.default_rng(seed))
    many = draw(n, n_shot + more, np.random.default_rng(seed))
    assert set(few) <= set(many)


@given(st.integers(1, 50), st.integers(0, 5), seeds)
def test_enough_shots_are_all_samples(n: int, more: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    np.testing.assert_array_equal(draw(n, n + more, rng), np.arange(n))


def test_no_limit_is_all_samples_and_draws_nothing() -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    chosen = draw(4, None, rng)
    np.testing.assert_array_equal(chosen, [0, 1, 2, 3])
    assert chosen.dtype == np.int64
    assert rng.bit_generator.state == before


def test_it_is_the_beginning_of_one_permutation() -> None:
    expected = sorted(np.random.default_rng(7).permutation(30)[:6])
    np.testing.assert_array_equal(draw(30, 6, np.random.default_rng(7)), expected)


def test_every_sample_is_drawn_equally_often() -> None:
    counts = np.zeros(10)
    for seed in range(2000):
        counts[draw(10, 3, np.random.default_rng(stage_seed("n_shot", seed, (("digits", 1),))))] += 1
    # Binomial with mean 600 and standard deviation 20.5.
    assert np.abs(counts - 600).max() < 5 * 20.5
