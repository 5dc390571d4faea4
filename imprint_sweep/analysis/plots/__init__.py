"""Figures: numbers in, pictures out.

``draw`` and ``write`` take a :data:`imprint_sweep.analysis.artefact.Figure`; ``frame`` is the data behind it. What is
where is decided by pure functions (`rank_geometry`, `chart_layout`, `axis`, `ticks`), so it is tested without looking;
`style` says how it looks.

Figures are one or two columns of a paper wide, with text of 7 points, and have no title of their own: that is the
caption's. Colours belong to what they stand for, in every figure; a marker goes with each for grey print.

In a page, put ``svg(figure)``, which is the text of ``<name>.svg``, into the HTML as it is. It is transparent, has a
title and ``role="img"``, its text can be searched, and it shares no identifier with other figures. It is drawn for a
light page; on a dark one::

    svg { filter: invert(0.9) hue-rotate(180deg) brightness(1.15); }

turns ink into light and paper into dark and leaves the hues what they were: orange stays orange. Print without it. An
image of the default size is legible; below about 80 % of it let the figure scroll rather than shrink.
"""

from imprint_sweep.analysis.plots.data import frame
from imprint_sweep.analysis.plots.drawing import draw
from imprint_sweep.analysis.plots.files import FORMATS, svg, write

__all__ = ["FORMATS", "draw", "frame", "svg", "write"]
