"""What the first call of a component costs besides its work: compiling, importing, starting libraries."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache

import numpy as np

from imprint_sweep.imprinting.alone import Alone
from imprint_sweep.imprinting.choosing_k import LEAST_SAMPLES
from imprint_sweep.imprinting.components import ClassMetric, Component, FittedMetric, Gen, JointGen, Rows, Variant

_FEW = np.eye(3, dtype=np.float32)
_FEW.flags.writeable = False
_ENOUGH = np.eye(LEAST_SAMPLES, dtype=np.float32)
"""Samples of which k can be chosen."""
_STEPS = np.tri(3, dtype=np.float32)
"""Samples whose covariance is not singular once it is shrunk."""
_STEPS.flags.writeable = False
_ONE_AT_A_TIME = threading.Lock()


def prepare(component: Component) -> None:
    """Call a generator, or a metric that is fitted, on a few samples: nothing that comes later holds its first use.

    Args:
        component: any.
    """
    with _ONE_AT_A_TIME:
        _prepare(component)


@lru_cache
def _prepare(component: Component) -> None:
    with suppress(Exception):  # raised again where it is asked for its result
        if isinstance(component, FittedMetric):
            component.fit(_FEW).transform(_FEW)
        elif isinstance(component, ClassMetric):
            component.map(component.statistics(_alone(_STEPS))).transform(_STEPS)
        elif isinstance(component, Gen):
            _prepare_gen(component)


def _prepare_gen(gen: Gen) -> None:
    parameters = tuple((parameter.name, parameter.neutral) for parameter in gen.parameters)
    variant = Variant(k=2 if gen.takes_k else 0, weight_decay=1.0, parameters=parameters)
    few = _alone(_FEW)
    for rule in gen.rules:
        gen.chosen_k(_alone(_ENOUGH), replace(variant, rule=rule))
    if isinstance(gen, JointGen):
        gen.prepare(few, variant)
        gen.solve([few, few], few, variant)
    else:
        gen.proxies(few, variant)


def _alone(samples: Rows) -> Alone:
    return Alone(samples, lambda stage, seed: np.random.default_rng(seed))
