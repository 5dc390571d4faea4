"""Every sample a proxy."""

from __future__ import annotations

from imprint_sweep.imprinting.components import ClassSamples, Gen, Rows, Variant


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

    def seconds(self, n: int, d: int, k: int, n_labels: int) -> float:
        """A copy."""
        return n * d / 1e9


ALL = All()
