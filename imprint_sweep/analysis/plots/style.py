"""How figures look: sizes for a two-column paper, one font, and colours and markers that stay with what they show.

The colours are those of Okabe and Ito (2008) with a purple, a grey and the ink: told apart by everyone, whatever their
colour vision. A marker goes with each, so that they are told apart in grey print as well.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib
import matplotlib.style

SINGLE, DOUBLE = 252.0, 518.4
"""Widths of one and of two columns in points: 3.5 and 7.2 inches."""

FONT = "DejaVu Sans"
"""It comes with matplotlib, so figures are the same on every machine."""
SIZE, SMALL = 7.0, 6.5
"""Of text, in points."""

INK, MUTED, FAINT, PAPER = "#222222", "#666666", "#dddddd", "#ffffff"

PALETTE = (
    ("#0072B2", "o"),  # blue
    ("#D55E00", "s"),  # vermilion
    ("#009E73", "^"),  # green
    ("#DF9500", "v"),  # orange, a little darker than theirs: it shows better on white
    ("#CC79A7", "D"),  # pink
    ("#56B4E9", "P"),  # sky
    ("#661D98", "X"),  # purple
    ("#5F5F5F", "p"),  # grey
    (INK, "h"),
)
_BLUE, _VERMILION, _GREEN, _ORANGE, _PINK, _SKY, _PURPLE, _GREY, _INK = range(len(PALETTE))

_PLACES = {
    "gen:kmeans": _BLUE,
    "gen:kmedoids": _VERMILION,
    "gen:cov_max": _GREEN,
    "gen:fps": _ORANGE,
    "gen:random": _PINK,
    "gen:k_least_squares": _SKY,
    "gen:least_squares": _PURPLE,
    "gen:all": _GREY,
    "gen:mean": _INK,
    # Residual networks warm, transformers cold.
    "model:resnet18": _ORANGE,
    "model:resnet50": _VERMILION,
    "model:vit_b_16": _BLUE,
    "model:swin_b": _SKY,
    "model:efficientnet_lite0": _GREEN,
    "model:efficientnet_lite1": _PINK,
    "model:efficientnet_lite2": _PURPLE,
    "model:pixels": _GREY,
    # Those of Fig. 11b are away from the sequential scale, with which they share a panel.
    "dataset:mnist": _VERMILION,
    "dataset:fashion_mnist": _PINK,
    "dataset:cifar10": _INK,
    "dataset:combi_digits": _ORANGE,
    "dataset:imagenet": _BLUE,
    "dataset:digits": _GREEN,
    "dataset:mnist_m": _PURPLE,
    "dataset:svhn": _GREY,
    "dataset:usps": _SKY,
}

_SCALE, _FIRST, _LAST = "viridis", 0.78, 0.0
"""The sequential scale; its yellow end is invisible on paper."""


@dataclass(frozen=True)
class Look:
    """How one series looks.

    Args:
        colour: ``"#rrggbb"``.
        marker: matplotlib's name of its shape; empty for places on a sequential scale, which are read by their order.
    """

    colour: str
    marker: str


def looks(keys: Iterable[str]) -> dict[str, Look]:
    """The colour and marker of everything that one figure shows.

    What the framework knows has its own in every figure. Another name gets one that depends on the name alone, unless
    something else of the figure has it: then the next that is free. With more names than colours, colours come again
    with other markers.

    Args:
        keys: as in :attr:`imprint_sweep.analysis.artefact.Series.colour`; empty for ink.
    """
    wanted = sorted(set(keys))
    found = {key: _entry(_PLACES[key]) for key in wanted if key in _PLACES}
    taken = {_PLACES[key] for key in found}
    for key in wanted:
        if key in found:
            continue
        if not key:
            found[key] = Look(INK, PALETTE[0][1])
        elif key.startswith("order:"):
            found[key] = Look(_on_scale(key), "")
        else:
            place = zlib.crc32(key.encode()) % len(PALETTE)
            # 81 pairs of a colour and a marker: the first nine free ones differ in both.
            places = [(place + i) % len(PALETTE) + i // len(PALETTE) * len(PALETTE) for i in range(len(PALETTE) ** 2)]
            chosen = next((candidate for candidate in places if candidate not in taken), place)
            taken.add(chosen)
            found[key] = _entry(chosen)
    return found


def applied() -> AbstractContextManager[None]:
    """A context with matplotlib's own defaults, whatever the user's matplotlibrc says, and ours on top."""
    return matplotlib.style.context(
        {
            "axes.axisbelow": True,
            "axes.edgecolor": MUTED,
            "axes.facecolor": "none",
            "axes.grid": True,
            "axes.grid.axis": "y",
            "axes.labelcolor": INK,
            "axes.labelsize": SIZE,
            "axes.linewidth": 0.6,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": INK,
            "axes.titlelocation": "left",
            "axes.titlepad": 4.0,
            "axes.titlesize": SIZE,
            "axes.unicode_minus": True,
            "figure.facecolor": "none",
            "font.family": [FONT],
            "font.size": SIZE,
            "grid.color": FAINT,
            "grid.linewidth": 0.5,
            "legend.fontsize": SIZE,
            "legend.frameon": False,
            "lines.linewidth": 1.3,
            "lines.markersize": 3.2,
            "lines.solid_joinstyle": "round",
            "pdf.fonttype": 42,  # TrueType: what journals ask for, and text that can be searched
            "savefig.dpi": 220,
            "svg.fonttype": "none",  # text as text; see svg.py
            "text.color": INK,
            # Letters as wide in pixels as they are in print, so that what fits is the same everywhere.
            "text.hinting": "none",
            "text.parse_math": False,  # a name with two dollar signs is a name
            "xtick.color": MUTED,
            "xtick.labelcolor": INK,
            "xtick.labelsize": SMALL,
            "xtick.major.size": 2.5,
            "xtick.major.width": 0.6,
            "xtick.minor.size": 1.5,
            "xtick.minor.width": 0.4,
            "ytick.color": MUTED,
            "ytick.labelcolor": INK,
            "ytick.labelsize": SMALL,
            "ytick.major.size": 2.5,
            "ytick.major.width": 0.6,
            "ytick.minor.size": 1.5,
            "ytick.minor.width": 0.4,
        },
        after_reset=True,
    )


def _entry(place: int) -> Look:
    """A pair of a colour and a marker: the palette's own nine first, then others."""
    again, i = divmod(place, len(PALETTE))
    return Look(PALETTE[i][0], PALETTE[(i + again) % len(PALETTE)][1])


def _on_scale(key: str) -> str:
    """The colour of ``"order:3/10"``."""
    place, _, count = key.removeprefix("order:").partition("/")
    share = (int(place) - 1) / (int(count) - 1) if int(count) > 1 else 0.5
    red, green, blue, _ = matplotlib.colormaps[_SCALE](_FIRST + (_LAST - _FIRST) * share)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
