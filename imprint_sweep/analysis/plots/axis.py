"""Axes before they are drawn: their ends, and ticks with room for their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.scale import SymmetricalLogTransform

from imprint_sweep.analysis.artefact import Floats
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.style import SMALL
from imprint_sweep.analysis.plots.ticks import linear_ticks, log_ticks, symlog_ticks, tick_label

_SYMLOG = SymmetricalLogTransform(10, 1, 1)
_MARGIN = 0.05
"""Between the outermost value and the end of an axis, as a share of what is shown."""
_GAP = {"linear": 12.0, "log": 5.0, "symlog": 5.0}
"""The least distance between the numbers of neighbouring ticks, in points."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        scale: ``"linear"``, ``"log"``, or ``"symlog"``, which is linear between -1 and 1.
        low, high: its ends.
        ticks: where it has a number or a name.
        labels: those.
    """

    scale: str
    low: float
    high: float
    ticks: tuple[float, ...]
    labels: tuple[str, ...]

    @property
    def label_width(self) -> float:
        """Of its widest label, in points."""
        return max((text.width(line, SMALL) for label in self.labels for line in label.split("\n")), default=0.0)


def limits(values: Floats, scale: str) -> tuple[float, float]:
    """The ends of an axis: what is shown and a little more; from 0 (or 1) to 1 (or 10) where nothing is.

    Args:
        values: (n,) float64; what is not finite, or not positive on a logarithmic axis, is not shown.
        scale: of the axis.
    """
    values = values[np.isfinite(values)]
    if scale == "log":
        values = values[values > 0]
    if not values.size:
        return (1.0, 10.0) if scale == "log" else (0.0, 1.0)
    low, high = scaled(np.array([values.min(), values.max()]), scale)
    margin = _MARGIN * (high - low)
    if margin < 1e-9 * max(abs(low), abs(high), 1):  # one value
        margin = max(0.01 * abs(high), 0.2)
    # An amount that is never negative begins at zero, not below.
    low = max(low - margin, 0.0) if scale == "symlog" and low >= 0 else low - margin
    ends = unscaled(np.array([low, high + margin]), scale)
    return float(ends[0]), float(ends[1])


def axis(values: Floats, scale: str, length: float, along: str) -> Axis:
    """An axis for values, with as many ticks as fit.

    Args:
        values: (n,) float64, what it shows.
        scale: of the axis.
        length: in points.
        along: ``"x"``, where numbers stand side by side, or ``"y"``, where they stand one above the other.
    """
    low, high = limits(values, scale)
    first, last = scaled(np.array([low, high]), scale)

    def fits(ticks: Sequence[float]) -> bool:
        at = (scaled(np.array(ticks, np.float64), scale) - first) / (last - first) * length
        sizes = [text.width(tick_label(tick), SMALL) if along == "x" else SMALL for tick in ticks]
        return apart(at.tolist(), sizes, _GAP[scale])

    if scale == "linear":
        ticks = linear_ticks(low, high, fits, whole=bool(np.all(values[np.isfinite(values)] % 1 == 0)))
    else:
        ticks = (log_ticks if scale == "log" else symlog_ticks)(low, high, fits)
    return Axis(scale, low, high, tuple(ticks), tuple(map(tick_label, ticks)))


def named_axis(names: Sequence[str]) -> Axis:
    """An axis of names at 0, 1, 2, ..."""
    return Axis("linear", -0.5, len(names) - 0.5, tuple(map(float, range(len(names)))), tuple(names))


def scaled(values: Floats, scale: str) -> Floats:
    """Where values lie along an axis, up to a linear map."""
    if scale == "log":
        return np.log10(values)
    return np.asarray(_SYMLOG.transform(values), np.float64) if scale == "symlog" else values


def unscaled(places: Floats, scale: str) -> Floats:
    """The inverse of :func:`scaled`."""
    if scale == "log":
        return np.asarray(10.0**places, np.float64)
    return np.asarray(_SYMLOG.inverted().transform(places), np.float64) if scale == "symlog" else places


def apart(places: Sequence[float], sizes: Sequence[float], gap: float) -> bool:
    """Whether labels with their middles at places along an axis keep a distance from each other.

    Args:
        places: ascending, in points.
        sizes: of the labels along the axis, in points.
        gap: the least distance.
    """
    pairs = pairwise(zip(places, sizes, strict=True))
    return all(x2 - x1 >= (s1 + s2) / 2 + gap for (x1, s1), (x2, s2) in pairs)
