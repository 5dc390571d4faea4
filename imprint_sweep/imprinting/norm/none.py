"""No normalisation."""

from __future__ import annotations

from typing import Any

from imprint_sweep.imprinting.components import Norm, Rows


class NoNorm(Norm):
    """Rows as they are."""

    name = "none"
    scales = True

    def rows(self, x: Rows) -> Rows:
        """The argument itself."""
        return x

    def on_tensors(self, x: Any) -> Any:
        """The argument itself."""
        return x


NONE = NoNorm()
