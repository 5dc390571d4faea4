"""Sums over the samples of classes, from which the proxies of an additive gen follow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import GENS, Additive, ClassSamples, Rows, Share, Variant
from imprint_sweep.imprinting.generation import checked_proxies


@dataclass(frozen=True, eq=False)
class Sums:
    """What an additive gen needs of all samples that it has seen.

    Args:
        gen: a name of :data:`~imprint_sweep.imprinting.components.GENS`.
        variant: its parameters; after :meth:`settled` with values in the place of what samples choose.
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
        sums = self
        for given in classes:
            share = self._additive.share(given, self.variant)
            sums = sums._reduced(sums._plus(share), [*sums.own, share.own])
        return sums

    def with_samples(self, position: int, given: ClassSamples) -> Sums:
        """The sums with more samples of a class.

        Args:
            position: of the class.
            given: the samples.

        Raises:
            StageError: the class cannot be summed up so.
        """
        share = self._additive.share(given, self.variant)
        own = list(self.own)
        own[position] = self._additive.joined(own[position], share.own, self.variant)
        return self._reduced(self._plus(share), own)

    def settled(self) -> Sums:
        """The same sums with what the gen chooses by samples, which those that are added later leave as it is."""
        assert self.total is not None
        return replace(self, variant=self._additive.settled(self.total, self.own, self.variant))

    def of_some(self, positions: Sequence[int]) -> Sums | None:
        """The sums of some of the classes; None where they cannot be told apart."""
        assert self.total is not None
        return None if self.total.size else replace(self, own=tuple(self.own[position] for position in positions))

    def proxies(self) -> list[Rows]:
        """The proxies of each class, as the gen makes them from samples."""
        assert self.total is not None
        made = self._additive.from_sums(self.total, self.own, self.variant)
        return checked_proxies(self.gen, made, len(self.own), self.features, self.variant)

    def _plus(self, share: Share) -> NDArray[np.float64]:
        if self.total is None:
            return share.total
        return self.total + share.total if share.total.size else self.total

    def _reduced(self, total: NDArray[np.float64], own: Sequence[Any]) -> Sums:
        total, own = self._additive.reduced(total, own, self.variant)
        return replace(self, total=total, own=tuple(own))

    @property
    def _additive(self) -> Additive:
        found = GENS[self.gen]
        assert isinstance(found, Additive)
        return found
