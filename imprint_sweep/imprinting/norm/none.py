"""No normalisation."""

from __future__ import annotations

from imprint_sweep.imprinting.components import Norm, Rows


class NoNorm(Norm):
    """Rows as they are."""

    name = "none"
    scales = True

    def rows(self, x: Rows) -> Rows:
        """The argument itself."""
        return x


NONE = NoNorm()
