"""What the first call of a generator costs besides its work: compiling, importing, starting libraries."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import lru_cache

import numpy as np

from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.components import GENS, JointGen, Variant

_FEW = np.eye(3, dtype=np.float32)
_FEW.flags.writeable = False
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
    few = Alone(_FEW, lambda stage, seed: np.random.default_rng(seed))
    with suppress(Exception):  # raised again where it is asked for proxies
        if isinstance(component, JointGen):
            component.prepare(few, variant)
            component.solve([few, few], few, variant)
        else:
            component.proxies(few, variant)
