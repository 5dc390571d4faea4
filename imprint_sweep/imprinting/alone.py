"""A class whose proxies are made once and shared with nobody."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import Keep, Rows

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


class Alone:
    """The samples of one class; implements :class:`~imprint_sweep.imprinting.components.ClassSamples`.

    Results are computed whenever they are asked for.

    Args:
        samples: (n, d) float32, never to be changed.
        rng: the random stream of (stage, seed).
    """

    room_for_moments = False

    def __init__(self, samples: Rows, rng: Callable[[str, int], np.random.Generator]) -> None:
        self.samples, self._rng = samples, rng

    def rng(self, stage: str, seed: int) -> np.random.Generator:
        """The random stream of a stage."""
        return self._rng(stage, seed)

    def once(self, stage: str, key: Hashable, compute: Callable[[], T], keep: Keep = Keep.ROUND) -> T:
        """The result of a stage, computed now."""
        return compute()

    def once_together(
        self,
        stage: str,
        keys: Sequence[K],
        compute: Callable[[Sequence[K]], Sequence[T]],
        *,
        counted_as: str,
        share: Callable[[T], float],
    ) -> None:
        """Nothing: :meth:`once` computes each result by itself."""

    def run(self, stage: str, compute: Callable[[], T]) -> T:
        """The result of a stage, computed now."""
        return compute()

    def stored(
        self, stage: str, key: tuple[int, ...], compute: Callable[[], Mapping[str, NDArray[Any]]], version: int
    ) -> Mapping[str, NDArray[Any]]:
        """Arrays, computed now and kept nowhere."""
        return compute()

    def reserve(self, n_bytes: int, what: str, *, of_task: bool = False, instead: str = "") -> None:
        """Nothing: there is no other job."""
