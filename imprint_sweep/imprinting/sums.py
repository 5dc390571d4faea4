"""Sums over the samples of classes, from which the proxies of an additive gen follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import GENS, Additive, ClassSamples, Rows, Variant
from imprint_sweep.imprinting.generation import checked_proxies


@dataclass(frozen=True, eq=False)
class Sums:
    """What an additive gen needs of all samples that it has seen.

    Args:
        gen: a name of :data:`~imprint_sweep.imprinting.components.GENS`.
        variant: its parameters.
        features: d.
        total: what is added up over all classes; None before the first.
        own: what is kept of each class.
    """

    gen: str
    variant: Variant
    features: int
    total: NDArray[np.float64] | None = None
    own: tuple[Any, ...] = ()

    def with_classes(self, classes: Iterable[ClassSamples]) -> Sums:
        """The sums with more classes, one after the other, behind the others: the order of additions is that."""
        total, own = self.total, list(self.own)
        for given in classes:
            share = self._additive.share(given, self.variant)
            total = share.total if total is None else total + share.total
            own.append(share.own)
        return replace(self, total=total, own=tuple(own))

    def with_samples(self, position: int, given: ClassSamples) -> Sums:
        """The sums with more samples of a class.

        Args:
            position: of the class.
            given: the samples.

        Raises:
            StageError: the class cannot be summed up so.
        """
        assert self.total is not None
        share = self._additive.share(given, self.variant)
        own = list(self.own)
        own[position] = self._additive.joined(own[position], share.own, self.variant)
        return replace(self, total=self.total + share.total, own=tuple(own))

    def of_some(self, positions: Sequence[int]) -> Sums | None:
        """The sums of some of the classes; None where they cannot be told apart."""
        assert self.total is not None
        return None if self.total.size else replace(self, own=tuple(self.own[position] for position in positions))

    def proxies(self) -> list[Rows]:
        """The proxies of each class, as the gen makes them from samples."""
        assert self.total is not None
        made = self._additive.from_sums(self.total, self.own, self.variant)
        return checked_proxies(self.gen, made, len(self.own), self.features, self.variant)

    @property
    def _additive(self) -> Additive:
        found = GENS[self.gen]
        assert isinstance(found, Additive)
        return found
