"""The Cholesky factor of a matrix that can be inverted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def factorised(matrix: NDArray[np.float64], norm: float | None = None) -> NDArray[np.float64]:
    """The Cholesky factor of a symmetric matrix that is not singular, to rounding.

    Whether a factorisation goes through says little: rounding leaves many a singular matrix positive definite, and what
    is solved with it is rounding, too. So the condition number decides.

    Args:
        matrix: (d, d); overwritten. In Fortran's order its lower triangle is enough, where the norm is given.
        norm: its 1-norm, the largest sum of the sizes in a column.

    Returns:
        (d, d), lower triangular, in Fortran's order.

    Raises:
        LinAlgError: it is not positive definite, or its reciprocal condition number (LAPACK's estimate, in the 1-norm)
            is not above d ε.
    """
    from scipy.linalg import LinAlgError, cholesky
    from scipy.linalg.lapack import dpocon

    norm = float(np.abs(matrix).sum(axis=0).max()) if norm is None else norm
    # LAPACK overwrites what is in Fortran's order, and a symmetric matrix is its own transpose.
    fortran = matrix if matrix.flags.f_contiguous else matrix.T
    factor: NDArray[np.float64] = cholesky(fortran, lower=True, overwrite_a=True, check_finite=False)
    condition, _ = dpocon(factor, norm, uplo="L")
    if not condition > len(matrix) * np.finfo(np.float64).eps:
        raise LinAlgError(f"its reciprocal condition number is {condition:.0e}")
    return factor
