"""Choosing k instead of giving it: which k are tried, and the rules that choose among them (method, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

BIC, CV_1SE = RULES = ("bic", "cv_1se")
"""By an information criterion of each class's clustering; by cells that are tested on held-out samples."""

LABELS: Mapping[str, str] = {BIC: "BIC", CV_1SE: "validation"}
"""What tables and figures call the rules."""

MAX_K = 20
"""The largest k that is tried where nothing is said: the paper's."""

LEAST_SAMPLES = 5
"""Of fewer samples of a class nothing is chosen: k = 1. So few can also not be held out a fifth of."""


def candidates(max_k: int) -> tuple[int, ...]:
    """The numbers of proxies that are tried: Fibonacci numbers below the largest, and the largest.

    >>> candidates(20), candidates(4), candidates(1)
    ((1, 2, 3, 5, 8, 13, 20), (1, 2, 3, 4), (1,))
    """
    found, k, following = [], 1, 2
    while k < max_k:
        found.append(k)
        k, following = following, k + following
    return (*found, max_k)


def one_standard_error(n_correct: Mapping[int, int], n_test: int) -> int:
    """The smallest k that is no worse than the best by more than a standard error (Breiman et al. 1984, section 3.4.3).

    The standard error is that of the best accuracy as a share of independent hits. It is compared in whole numbers, as
    rounding would decide where a k is worse by exactly that.

    Args:
        n_correct: of each k on held-out samples; at least one k.
        n_test: how many these are, at least 1.

    >>> one_standard_error({1: 80, 5: 87, 20: 90}, 100), one_standard_error({1: 8000, 5: 8500, 20: 9000}, 10_000)
    (5, 20)
    """
    best = max(n_correct.values())
    return min(k for k, n in n_correct.items() if (best - n) ** 2 * n_test <= best * (n_test - best))
