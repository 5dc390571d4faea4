"""k-means within a class: the paper's own generator, and the clusterings that Algorithm 1 starts from."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np

from imprint_sweep.imprinting.choosing_k import BIC, LEAST_SAMPLES, candidates
from imprint_sweep.imprinting.components import ClassSamples, Gen, Making, Piece, Rows, Sizes, Variant
from imprint_sweep.imprinting.kmeans import bic
from imprint_sweep.imprinting.kmeans.batch import KMeansFit, batch_kmeans
from imprint_sweep.imprinting.kmeans.seeding import trials


class KMeans(Gen):
    """The k cluster centres of the samples of the class.

    Version 1 was scikit-learn's own fit, whose bits depend on the BLAS of the machine.
    """

    name = "kmeans"
    version = 2
    label = "k-means"
    takes_k = True
    rules = (BIC,)
    seeded = True
    with_one_proxy = "mean"
    making = Making.IN_BATCHES

    def together(self, given: ClassSamples, variants: Sequence[Variant]) -> None:
        """All fits of the class at once."""
        fit_together(given, [fit for variant in variants for fit in _fits_of(variant)])

    def chosen_k(self, given: ClassSamples, variant: Variant) -> int:
        """The k of the clustering with the best information criterion; fewer than there are samples."""
        x = given.samples

        def choose() -> int:
            if len(x) < LEAST_SAMPLES:
                return 1
            one = 1, np.zeros(len(x), np.int32)
            fits = (fit for fit in _fits_of(variant) if fit.k < len(x))
            return bic.best_k(x, [one, *((fit.k, clustering(given, fit.k, fit.seed).assignment) for fit in fits)])

        return given.once(BIC, (variant.k, variant.seed), choose)

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The centres, (min(k, n), d)."""
        return clustering(given, variant.k, variant.seed).centers

    def shares(self, variant: Variant) -> Hashable:
        """The clusterings of every (k, seed), with k-least-squares."""
        return "clusterings"

    def stays_with(self, variant: Variant) -> Hashable:
        """All fits of the same samples are made at once."""
        return "clusterings"

    def batch_bytes(self, n: int, d: int, variant: Variant) -> int:
        """What a fit adds to a batch: bounds of distances and labels for each sample, sums for each centre."""
        return sum(fit.k * (4 * n + 20 * d) + 8 * n for fit in _fits_of(variant))

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """What a batch takes once, a k-means++ for all fits with its seed and number of trials, and the fit."""
        if variant.rule:
            choice = Piece(BIC, (variant.k, variant.seed), of.n * d * len(candidates(variant.k)) * 1.5e-9)
            return [choice, *(piece for fit in _fits_of(variant) for piece in self.work(of, d, fit))]
        k, seed = variant.k, variant.seed
        size = np.where(of.n > k, of.n * d, 0.0)
        n_trials = trials(k)
        # Lloyd takes more iterations the more samples a mode has. Of an iteration, walking along the bounds does not
        # depend on d, and products do.
        lloyd = (0.67 + 430.0 / d) * (of.n / of.parts / 6000.0) ** 0.4
        return [
            Piece("kmeans", "batch", size * 2.5e-8, calls=0),
            Piece("kmeans", ("k-means++", seed, n_trials), size * (6.5e-11 * k * n_trials), calls=0),
            Piece("kmeans", (k, seed), size * lloyd * (1.5e-9 + 6.2e-10 * k) + 1e-3 * (of.n > k)),
        ]


def _fits_of(variant: Variant) -> list[Variant]:
    """The variants whose clusterings a variant needs: itself, or those of more than one cluster that a rule tries."""
    if not variant.rule:
        return [variant]
    return [replace(variant, k=k, rule="") for k in candidates(variant.k) if k > 1]


def clustering(given: ClassSamples, k: int, seed: int) -> KMeansFit:
    """The k-means clustering of a class, shared by all that need it.

    Args:
        given: the samples of the class.
        k: clusters wanted, at least 1.
        seed: any integer.
    """
    return given.once("clustering", (k, seed), lambda: given.run("kmeans", lambda: _fits(given, [(k, seed)])[0]))


def fit_together(given: ClassSamples, variants: Sequence[Variant]) -> None:
    """Make the clusterings of several (k, seed) at once, as :func:`clustering` gives them."""
    given.once_together(
        "clustering",
        list(dict.fromkeys((variant.k, variant.seed) for variant in variants)),
        lambda fits: _fits(given, fits),
        counted_as="kmeans",
        share=lambda fit: fit.products + len(fit.centers) * len(fit.assignment),
    )


def _fits(given: ClassSamples, fits: Sequence[tuple[int, int]]) -> list[KMeansFit]:
    return batch_kmeans(given.samples, fits)


KMEANS = KMeans()
