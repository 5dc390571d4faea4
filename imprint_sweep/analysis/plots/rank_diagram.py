"""Critical-difference diagrams: what is compared, by its average rank, with bars over what does not differ."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imprint_sweep.analysis.artefact import RankDiagram
from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.rank_geometry import CAPTION, EDGE, NUMBERS, TICK, Geometry, geometry
from imprint_sweep.analysis.plots.sheet import Sheet
from imprint_sweep.analysis.plots.style import DOUBLE, INK, MUTED, PAPER, SINGLE, SIZE, SMALL, applied, looks
from imprint_sweep.analysis.rendering import text_of

_LONGEST = 135.0
"""Where a label breaks into lines, in points."""


def draw_ranks(diagram: RankDiagram) -> Figure:
    """Draw a diagram: one column wide where it is legible so, else two.

    Where a bar passes the rank of something that its clique does not hold, the members are marked on every bar.
    """
    with applied():
        at, labels = _laid_out(diagram)
        sheet = Sheet(at.width, at.height)
        sheet.text((at.axis_left + at.axis_right) / 2, EDGE + CAPTION / 2, _CAPTION, MUTED, small=True, align="center")
        sheet.line([at.axis_left, at.axis_right], [at.axis_y] * 2, zorder=2)
        for rank, x in at.ticks:
            sheet.line([x, x], [at.axis_y, at.axis_y - TICK], width=0.6)
            sheet.text(x, at.axis_y - TICK - NUMBERS / 2, str(rank), small=True, align="center")
        keys = diagram.colours or ("",) * len(labels)
        look = looks(keys)
        for i, (label, key) in enumerate(zip(labels, keys, strict=True)):
            colour, side = look[key].colour, "left" if at.right[i] else "right"
            sheet.line([at.x[i], at.x[i], at.leader_end[i]], [at.axis_y, at.y[i], at.y[i]], colour)
            _dots(sheet, [at.x[i]], at.axis_y, colour, colour)
            sheet.text(at.number_x[i], at.y[i], text_of(float(diagram.ranks[i]), "rank"), MUTED, small=True, align=side)
            sheet.text(at.label_x[i], at.y[i], label, align=side)
        marked = any(bar.passes for bar in at.bars)
        for bar in at.bars:
            sheet.line([bar.left, bar.right], [bar.y, bar.y], width=2.4, zorder=4)
            if marked:
                _dots(sheet, at.x[list(bar.members)].tolist(), bar.y, PAPER, INK)
        return sheet.figure


_CAPTION = "average rank (1 is best)"


def _dots(sheet: Sheet, xs: list[float], y: float, face: str, edge: str) -> None:
    sheet.add(
        Line2D(
            xs,
            [y] * len(xs),
            linestyle="none",
            marker="o",
            markersize=3.4,
            color=edge,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=0.9,
            zorder=5,
        )
    )


def _laid_out(diagram: RankDiagram) -> tuple[Geometry, list[str]]:
    """The geometry and the labels in lines: one column wide if names and ranks have room there, else two."""
    number_width = max(text.width(text_of(float(rank), "rank"), SMALL) for rank in diagram.ranks)

    def at(labels: list[str], width: float, least_axis: float) -> Geometry:
        lines = [label.split("\n") for label in labels]
        return geometry(
            diagram.ranks,
            diagram.cliques,
            [max(text.width(line, SIZE) for line in of_label) for of_label in lines],
            [text.LINE * SIZE * len(of_label) for of_label in lines],
            number_width,
            width,
            least_axis,
        )

    labels = [" ".join(label.split()) for label in diagram.labels]
    narrow = at(labels, SINGLE, least_axis=max(90.0, 18.0 * (len(labels) - 1)))
    if narrow.width <= SINGLE:
        return narrow, labels
    labels = [text.wrapped(label, _LONGEST, SIZE) for label in labels]
    return at(labels, DOUBLE, least_axis=150.0), labels
