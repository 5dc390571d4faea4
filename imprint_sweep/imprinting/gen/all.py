"""Every sample a proxy."""

from __future__ import annotations

from collections.abc import Sequence

from imprint_sweep.imprinting.components import ClassSamples, Gen, Piece, Rows, Sizes, Variant


class All(Gen):
    """All samples of the class; the aggregation is then k nearest neighbours."""

    name = "all"
    chooses_blindly = True
    cheap = True

    def proxies(self, given: ClassSamples, variant: Variant) -> Rows:
        """The samples themselves, (n, d)."""
        return given.samples

    def per_class(self, k: int | None) -> int | None:
        """Bounded by the number of samples alone."""
        return None

    def work(self, of: Sizes, d: int, variant: Variant) -> Sequence[Piece]:
        """None: the samples are there."""
        return []


ALL = All()
