"""Where axes have ticks with numbers: as many as there is room for, at round values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

_DIGITS = ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,))
"""Which leading digits have a tick within each power of ten, from many to few."""


def linear_ticks(low: float, high: float, fits: Callable[[Sequence[float]], bool], whole: bool = False) -> list[float]:
    """Ticks of a linear axis.

    Args:
        low, high: the ends of the axis.
        fits: whether there is room for these ticks.
        whole: whether only whole numbers mean something.
    """
    power = math.floor(math.log10(high - low)) - 1
    for step in (float(f"{digit}e{power + i}") for i in range(4) for digit in (1, 2, 5)):
        ticks = [float(f"{i * step:.12g}") for i in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if (not whole or step % 1 == 0) and fits(ticks):
            return ticks
    return ticks


def log_ticks(low: float, high: float, fits: Callable[[Sequence[float]], bool]) -> list[float]:
    """Ticks of a logarithmic axis.

    Args:
        low, high: the ends of the axis, positive.
        fits: whether there is room for these ticks.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for digits in _DIGITS:
        ticks = [
            float(f"{digit}e{power}")
            for power in range(first, last + 1)
            for digit in digits
            if low <= float(f"{digit}e{power}") <= high
        ]
        if len(ticks) >= 2 and fits(ticks):
            return ticks
    for step in range(2, last - first + 1):
        ticks = [float(f"1e{power}") for power in range(first, last + 1) if power % step == 0]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if fits(ticks):
            return ticks
    return ticks[:1]


def symlog_ticks(low: float, high: float, fits: Callable[[Sequence[float]], bool]) -> list[float]:
    """Ticks of an axis that is linear between -1 and 1 and logarithmic beyond, see :func:`log_ticks`."""
    for digits in _DIGITS[1:]:
        beyond = [float(f"{digit}e{power}") for power in range(17) for digit in digits]
        for within in ((0.0, 0.5), (0.0,)):
            every = sorted({*within, *beyond, *(-tick for tick in (*within, *beyond))})
            ticks = [tick for tick in every if low <= tick <= high]
            if fits(ticks):
                return ticks
    return ticks[:: max(len(ticks) - 1, 1)]


def tick_label(value: float) -> str:
    """A tick's number: as short as it can be, with a minus sign that is one.

    >>> [tick_label(value) for value in (0.5, 20.0, 1000.0, -2.5, 1e-5, 1e6)]
    ['0.5', '20', '1000', '−2.5', '10⁻⁵', '10⁶']
    """
    size = abs(value)
    if size != 0 and not 1e-3 <= size < 1e6:
        digits, power = f"{size:.3e}".split("e")
        digits = digits.rstrip("0").rstrip(".")
        raised = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        text = f"10{raised}" if digits == "1" else f"{digits}·10{raised}"
    else:
        text = np.format_float_positional(float(f"{size:.6g}"), trim="-")
    return f"−{text}" if value < 0 else text
