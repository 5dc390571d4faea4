"""What the first call of a generator costs besides its work: compiling, importing, starting libraries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.imprinting.components import GENS, JointGen, Keep, Variant

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)
_ONE_AT_A_TIME = threading.Lock()


def prepare(gen: str) -> None:
    """Call a generator on a few samples, so that no time of it that is measured later holds its first use.

    Args:
        gen: a name of :data:`imprint_sweep.imprinting.components.GENS`.
    """
    with _ONE_AT_A_TIME:
        _prepare(gen)


@lru_cache
def _prepare(gen: str) -> None:
    component = GENS[gen]
    parameters = tuple((parameter.name, parameter.neutral) for parameter in component.parameters)
    variant = Variant(k=2 if component.takes_k else 0, weight_decay=1.0, parameters=parameters)
    few = _Few()
    with suppress(Exception):  # raised again where it is asked for proxies
        if isinstance(component, JointGen):
            component.prepare(few, variant)
            component.solve([few, few], few, variant)
        else:
            component.proxies(few, variant)


class _Few:
    """Three samples of a class that are shared with nobody."""

    samples = np.eye(3, dtype=np.float32)
    samples.flags.writeable = False
    room_for_moments = True

    def once(self, stage: str, key: Hashable, compute: Callable[[], T], keep: Keep = Keep.ROUND) -> T:
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
        pass

    def run(self, stage: str, compute: Callable[[], T]) -> T:
        return compute()

    def rng(self, stage: str, seed: int) -> np.random.Generator:
        return np.random.default_rng(seed)

    def stored(
        self, stage: str, key: tuple[int, ...], compute: Callable[[], Mapping[str, NDArray[Any]]], version: int
    ) -> Mapping[str, NDArray[Any]]:
        return compute()

    def reserve(self, n_bytes: int, what: str) -> None:
        pass
