"""The rules that choose k, against formulas, scikit-learn and what they promise."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from imprint_sweep.api.imprinter import Imprinter
from imprint_sweep.errors import ImprinterError
from imprint_sweep.imprinting.choosing_k import candidates, one_standard_error
from imprint_sweep.imprinting.kmeans.bic import best_k, bic
from tests import data

Rows = NDArray[np.float32]
Labels = NDArray[np.int32]


def by_definition(x: Rows, labels: Labels, k: int) -> float:
    """The criterion as a sum over samples of the log density of their own cluster's Gaussian."""
    wide, (n, d) = x.astype(np.float64), x.shape
    used = np.unique(labels)
    means = {j: wide[labels == j].mean(axis=0) for j in used}
    variance = sum(float(((wide[labels == j] - means[j]) ** 2).sum()) for j in used) / (d * (n - k))
    likelihood = sum(
        math.log((labels == j).mean()) + multivariate_normal(means[j], variance).logpdf(row)
        for row, j in zip(wide, labels, strict=True)
    )
    return float(likelihood - (k * d + k) / 2 * math.log(n))


def sample(n: int, d: int, k: int, seed: int) -> tuple[Rows, Labels]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n).astype(np.int32)
    return (rng.normal(size=(k, d)) * 3)[labels].astype(np.float32) + rng.normal(size=(n, d)).astype(np.float32), labels


@pytest.mark.parametrize("seed", range(200))
def test_the_criterion_is_the_likelihood_of_spherical_gaussians_less_its_parameters(seed: int) -> None:
    n, d, k = (int(number) for number in np.random.default_rng(seed).integers([6, 1, 1], [40, 70, 6]))
    x, labels = sample(n, d, k, seed)
    assert bic(x, labels, k) == pytest.approx(by_definition(x, labels, k), rel=1e-9)


@pytest.mark.parametrize("d", [1, 5, 64])
def test_of_one_cluster_it_is_scikit_learns_with_an_unbiased_variance(d: int) -> None:
    x, labels = sample(50, d, 1, 3)
    mixture = GaussianMixture(1, covariance_type="spherical", reg_covar=0.0).fit(x.astype(np.float64))
    # Its variance is the sum over n d, ours over (n - 1) d; the likelihood at ours follows, and as many parameters.
    mixture.covariances_ *= 50 / 49
    mixture.precisions_cholesky_ = 1 / np.sqrt(mixture.covariances_)
    assert bic(x, labels, 1) == pytest.approx(-mixture.bic(x.astype(np.float64)) / 2, rel=1e-9)


def test_clusters_far_apart_are_found_and_one_cloud_is_left_whole() -> None:
    rng = np.random.default_rng(0)
    for modes in (1, 2, 3, 5):
        x = (100 * np.eye(8)[np.arange(120) % modes] + rng.normal(size=(120, 8))).astype(np.float32)
        fits = [(k, KMeans(k, random_state=0, n_init=3).fit(x).labels_.astype(np.int32)) for k in candidates(20)]
        assert best_k(x, fits) == modes


@given(
    arrays(np.float32, (9, 3), elements=st.floats(-8, 8, width=16)),
    arrays(np.int32, 9, elements=st.integers(0, 2)),
    st.floats(0.25, 4.0, width=16),
)
def test_names_of_clusters_do_not_matter_and_scale_only_shifts(x: Rows, labels: Labels, scale: float) -> None:
    found = bic(x, labels, 3)
    assert bic(x, (labels + 1) % 3, 3) == pytest.approx(found, rel=1e-9)
    if math.isfinite(found):
        shift = 9 * 3 * math.log(scale)
        assert bic(x * np.float32(scale), labels, 3) == pytest.approx(found - shift, rel=1e-4, abs=1e-3)


def test_equal_samples_are_one_cluster() -> None:
    x = np.full((7, 4), 0.1, np.float32)
    fits = [(1, np.zeros(7, np.int32)), (2, np.zeros(7, np.int32)), (3, np.arange(7, dtype=np.int32) % 3)]
    assert [bic(x, labels, k) for k, labels in fits] == [math.inf] * 3
    assert best_k(x, fits) == 1


@given(st.integers(1, 10_000))
def test_candidates_ascend_from_one_to_the_largest(max_k: int) -> None:
    found = candidates(max_k)
    assert (found[0], found[-1]) == (1, max_k)
    assert list(found) == sorted(set(found))
    assert all(following <= 2 * k for k, following in pairwise(found))


@given(st.dictionaries(st.sampled_from(candidates(20)), st.floats(0, 1), min_size=1), st.integers(1, 1000))
def test_the_chosen_k_is_within_an_error_of_the_best_and_no_smaller_one_is(share: dict[int, float], n: int) -> None:
    n_correct = {k: round(one * n) for k, one in share.items()}
    best = Fraction(max(n_correct.values()), n)
    variance = best * (1 - best) / n
    chosen = one_standard_error(n_correct, n)
    assert (best - Fraction(n_correct[chosen], n)) ** 2 <= variance
    assert all((best - Fraction(n_correct[k], n)) ** 2 > variance for k in n_correct if k < chosen)


@pytest.mark.parametrize(("n", "best", "other"), [(25, 20, 18), (100, 90, 87), (225, 180, 174), (900, 720, 708)])
def test_a_k_that_is_worse_by_exactly_a_standard_error_is_chosen(n: int, best: int, other: int) -> None:
    assert one_standard_error({1: other, 20: best}, n) == 1
    assert one_standard_error({1: other - 1, 20: best}, n) == 20


# --- The estimator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["l2", "none"])
def test_each_class_has_the_proxies_of_its_own_k(norm: str) -> None:
    blobs = data.blobs(train_sizes={0: 40, 1: 30, 2: 4, 3: 1}, spread=4.0)
    x, y = blobs.train.features, blobs.train.labels
    clf = Imprinter(k=None, select="bic", max_k=8, norm=norm).fit(x, y)
    ks = np.bincount(clf.proxy_labels_)
    assert len(set(ks)) > 1
    assert ks[2:].tolist() == [1, 1]
    for label, k in enumerate(ks.tolist()):
        plain = Imprinter(k=k, norm=norm).fit(x, y)
        assert (
            clf.proxies_[clf.proxy_labels_ == label].tobytes() == plain.proxies_[plain.proxy_labels_ == label].tobytes()
        )
    later = Imprinter(k=None, select="bic", max_k=8, norm=norm).fit(x[y < 3], y[y < 3]).add_class(x[y == 3], 3)
    assert later.proxies_.tobytes() == clf.proxies_.tobytes()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"select": "bic"}, "select=bic chooses k, and k has a value, be it the default; use k=None, or select=None"),
        ({"select": "bic", "k": None, "gen": "fps"}, "select=bic compares clusterings of a class, and gen=fps makes"),
        ({"select": "cv_1se", "k": None}, "select=cv_1se chooses k by cells of a sweep"),
        ({"select": "aic", "k": None}, "unknown select 'aic'; did you mean bic"),
        ({"select": "bic", "k": None, "max_k": 0}, "max_k must be at least 1, got 0"),
    ],
)
def test_what_cannot_choose_says_so(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ImprinterError, match=message):
        Imprinter(**given).fit([[0.0], [1.0]], [0, 1])
