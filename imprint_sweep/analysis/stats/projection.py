"""Embeddings in the plane of their first two principal components (the paper's Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA

from imprint_sweep.analysis.artefact import Floats


def project(samples: Sequence[Floats], *others: Sequence[Floats]) -> tuple[list[list[Floats]], tuple[float, float]]:
    """Project groups of vectors onto the first two principal components of the samples.

    Args:
        samples: of each label (n_c, d) float64; they decide the plane, all of them together.
        others: further groups, each of each label (any, d) float64: means, proxies.

    Returns:
        The samples and each of the others in the plane, (..., 2) float64 each, and the share of the samples' variance
        that each axis holds. Where samples span less than a plane, coordinates and shares are zero.
    """
    together = np.concatenate(samples)
    axes, shares = np.zeros((2, together.shape[1])), np.zeros(2)
    if np.ptp(together, axis=0).any():
        fit = PCA(n_components=min(2, *together.shape), svd_solver="covariance_eigh").fit(together)
        axes[: len(fit.components_)] = fit.components_
        shares[: len(fit.components_)] = fit.explained_variance_ratio_
    center = together.mean(axis=0)
    projected = [[(vectors - center) @ axes.T for vectors in group] for group in (samples, *others)]
    return projected, (float(shares[0]), float(shares[1]))
