"""Figures on disk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.figure

from imprint_sweep.analysis.artefact import Figure
from imprint_sweep.analysis.plots.data import frame
from imprint_sweep.analysis.plots.drawing import draw
from imprint_sweep.analysis.plots.style import PAPER, applied
from imprint_sweep.analysis.plots.svg import tidied
from imprint_sweep.analysis.rendering import csv_of
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.files.replacing import replacing
from imprint_sweep.wording import visible

FORMATS = ("pdf", "svg", "png")
"""PDF for papers, SVG for pages, PNG (220 dpi) for everything else."""


def write(figure: Figure, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a figure and the data behind it.

    Files appear whole or not at all. The same figure gives the same bytes, whenever and wherever it is drawn with the
    same version of matplotlib.

    Args:
        figure: what is drawn.
        folder: where; made if it does not exist.
        formats: of :data:`FORMATS`.

    Returns:
        ``<name>.<format>`` for each format, and ``<name>-data.csv`` (see :func:`imprint_sweep.analysis.plots.frame`).

    Raises:
        UnknownOptionError: there is no such format.
        OSError: a file cannot be written.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise UnknownOptionError("figure format", wanted, FORMATS)
    drawn = draw(figure)
    contents = {f"{figure.name}.{wanted}": _encoded(drawn, figure, wanted) for wanted in formats}
    contents[f"{figure.name}-data.csv"] = csv_of(frame(figure)).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with replacing(folder / name) as file:
            file.write(content)
    return [folder / name for name in contents]


def svg(figure: Figure) -> str:
    """What :func:`write` writes as SVG, to put into a page."""
    return _encoded(draw(figure), figure, "svg").decode()


def _encoded(drawn: matplotlib.figure.Figure, figure: Figure, wanted: str) -> bytes:
    """A drawn figure in one of :data:`FORMATS`."""
    title = visible(figure.title)
    metadata = {
        "pdf": {"Title": title, "CreationDate": None},
        "svg": {"Title": title, "Date": None},
        "png": {"Title": title},
    }
    sink = io.BytesIO()
    with applied(), matplotlib.rc_context({"svg.hashsalt": f"salt of {figure.name}"}):
        # PNG goes where nobody knows what is behind it.
        background = PAPER if wanted == "png" else "none"
        drawn.savefig(sink, format=wanted, metadata=metadata[wanted], facecolor=background)
    if wanted == "svg":
        return tidied(sink.getvalue().decode(), figure.name).encode()
    return sink.getvalue()
