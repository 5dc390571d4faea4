"""quantile: NumPy's quantile as oracle; ties."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from imprint_sweep.imprinting.norm.quantile import QUANTILE

Vectors = NDArray[np.float32]

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
with_ties = st.one_of(st.sampled_from([0.0, 0.0, 0.5, 1.0]), st.floats(-4, 4, width=32))


def vectors(n: int, d: int, seed: int = 0) -> Vectors:
    """Like a network's last features: behind a ReLU."""
    return np.maximum(np.random.default_rng(seed).normal(0.2, 1, (n, d)), 0).astype(np.float32)


@st.composite
def labels(draw: st.DrawFn, elements: st.SearchStrategy[float] = with_ties) -> list[Vectors]:
    """Proxies of one to four labels."""
    d = draw(st.integers(1, 9))
    sizes = draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    return [draw(hnp.arrays(np.float32, (k, d), elements=elements)) for k in sizes]


def naive(proxies_by_label: Sequence[Vectors]) -> list[Vectors]:
    """Section 5 of the method word by word: the whole reference, ranks one proxy at a time."""
    d = proxies_by_label[0].shape[1]
    done = [proxies_by_label[0]]
    for proxies in proxies_by_label[1:]:
        reference = np.concatenate([array.ravel() for array in done]).astype(np.float64)
        values = np.quantile(reference, (np.arange(d) + 0.5) / d, method="linear").astype(np.float32)
        imprinted = np.empty_like(proxies)
        for i, proxy in enumerate(proxies):
            by_value_then_feature = sorted(range(d), key=lambda j, row=proxy: (row[j], j))  # type: ignore[misc]
            imprinted[i, by_value_then_feature] = values
        done.append(imprinted)
    return done


def check(proxies_by_label: Sequence[Vectors]) -> None:
    given_before = [array.copy() for array in proxies_by_label]
    imprinted = QUANTILE.imprint(proxies_by_label)
    for array, expected, before, given_now in zip(
        imprinted, naive(proxies_by_label), given_before, proxies_by_label, strict=True
    ):
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, expected)
        np.testing.assert_array_equal(given_now, before)


@given(labels())
def test_quantile_agrees_with_numpy_on_the_whole_reference(proxies_by_label: list[Vectors]) -> None:
    check(proxies_by_label)


@given(labels(finite))
def test_quantile_agrees_with_numpy_for_all_finite_numbers(proxies_by_label: list[Vectors]) -> None:
    check(proxies_by_label)


def test_quantile_agrees_with_numpy_on_features_of_unequal_labels() -> None:
    check([vectors(k, 96, seed=k) for k in (40, 1, 25, 7, 100, 1)])


def test_quantile_by_hand() -> None:
    first = np.array([[0, 10], [20, 30]], dtype=np.float32)
    second = np.array([[5, -5], [1, 1]], dtype=np.float32)
    third = np.array([[-1, 2]], dtype=np.float32)
    _, two, three = QUANTILE.imprint([first, second, third])
    # Levels 1/4 and 3/4 of 0 10 20 30 lie at positions 0.75 and 2.25; the tied proxy ranks by feature.
    np.testing.assert_array_equal(two, np.array([[22.5, 7.5], [7.5, 22.5]], dtype=np.float32))
    # Of 0 7.5 7.5 10 20 22.5 22.5 30 they lie at 1.75 and 5.25.
    np.testing.assert_array_equal(three, np.array([[7.5, 22.5]], dtype=np.float32))


def test_both_zeros_tie() -> None:
    _, tied = QUANTILE.imprint([np.array([[1, 3]], np.float32), np.array([[0.0, -0.0]], np.float32)])
    np.testing.assert_array_equal(tied, np.array([[1.5, 2.5]], np.float32))


@given(labels(), st.integers(0, 100))
def test_permuting_the_proxies_of_a_label_permutes_its_rows_only(proxies_by_label: list[Vectors], seed: int) -> None:
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(array)) for array in proxies_by_label]
    shuffled = [array[order] for array, order in zip(proxies_by_label, orders, strict=True)]
    for array, straight, order in zip(
        QUANTILE.imprint(shuffled), QUANTILE.imprint(proxies_by_label), orders, strict=True
    ):
        np.testing.assert_array_equal(array, straight[order])


@given(labels(st.integers(-50, 50).map(float)), st.integers(-3, 3), st.integers(-5, 5))
def test_scaling_and_shifting_later_labels_changes_nothing(
    proxies_by_label: list[Vectors], exponent: int, shift: int
) -> None:
    first, *later = proxies_by_label
    moved = [first, *(array * np.float32(2.0**exponent) + np.float32(shift) for array in later)]
    for array, expected in zip(QUANTILE.imprint(moved), QUANTILE.imprint(proxies_by_label), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_the_order_of_the_labels_matters() -> None:
    a, b = vectors(3, 16, seed=1), vectors(4, 16, seed=2)
    assert not np.array_equal(QUANTILE.imprint([a, b])[1], QUANTILE.imprint([b, a])[0])
    np.testing.assert_array_equal(QUANTILE.imprint([b, a])[0], b)


def test_labels_imprinted_before_do_not_depend_on_those_after() -> None:
    arrays = [vectors(3, 16, seed=seed) for seed in range(4)]
    for short, long in zip(QUANTILE.imprint(arrays[:3]), QUANTILE.imprint(arrays), strict=False):
        np.testing.assert_array_equal(short, long)


def test_read_only_proxies_are_accepted_and_few_labels_are_left_alone() -> None:
    arrays = [vectors(3, 16, seed=seed) for seed in range(3)]
    for array in arrays:
        array.flags.writeable = False
    check(arrays)
    check(arrays[:1])
    assert QUANTILE.imprint([]) == []
