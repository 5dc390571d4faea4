"""Nothing covers anything, nothing leaves the figure: measured on what the renderer draws."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from matplotlib.figure import Figure as Drawn
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from imprint_sweep.analysis import plots
from imprint_sweep.analysis.artefact import Chart, Figure, Panel, RankDiagram, Series
from imprint_sweep.analysis.plots.style import DOUBLE, SINGLE
from tests.analysis.plots import examples
from tests.analysis.plots.boxes import Box, corners, intersect, panels, text_boxes, touching

NAMES = {
    "short": "{}-nn",
    "long": examples.LONG + " {}",
    "one_word": "an_unbreakable_name_of_a_configuration" * 2 + "{}",
}

RANKS = {
    f"{k}-{name}-{'tied' if tied else 'apart'}": examples.ranks_of(k, label, tied)
    for k in (2, 3, 5, 20)
    for name, label in NAMES.items()
    for tied in (False, True)
}
CHARTS = {figure.name: figure for figure in examples.everything() if isinstance(figure, Chart)}
CHARTS |= {f"panels{n}": examples.many_panels(n) for n in (1, 2, 3, 5, 7, 12)}
CHARTS |= {f"columns{columns}": examples.fig10(12, columns, "{}, {}") for columns in (1, 2, 3)}
PAPER = {figure.name: figure for figure in examples.everything() if isinstance(figure, RankDiagram)}


FIGURES: dict[str, Figure] = {**RANKS, **CHARTS, **PAPER}


@cache
def drawn_and_boxes(id_: str) -> tuple[Drawn, list[Box]]:
    """A figure as it is drawn, and its texts."""
    drawn = plots.draw(FIGURES[id_])
    return drawn, text_boxes(drawn)


@pytest.mark.parametrize("id_", FIGURES)
def test_texts_neither_touch_nor_leave_the_figure(id_: str) -> None:
    drawn, boxes = drawn_and_boxes(id_)
    assert boxes
    assert touching(boxes) == []
    edge = drawn.bbox
    for box in boxes:
        assert edge.x0 <= box.corners[:, 0].min(), box.text
        assert box.corners[:, 0].max() <= edge.x1, box.text
        assert edge.y0 <= box.corners[:, 1].min(), box.text
        assert box.corners[:, 1].max() <= edge.y1, box.text
    over_data = [box.text for box in boxes for panel in panels(drawn) if intersect(box.corners, corners(panel))]
    assert over_data in ([], ["no results"])


@pytest.mark.parametrize("id_", RANKS | PAPER)
def test_every_label_and_rank_of_a_diagram_is_written(id_: str) -> None:
    figure = (RANKS | PAPER)[id_]
    written = "".join(box.text for box in drawn_and_boxes(id_)[1]).replace(" ", "")
    for label, rank in zip(figure.labels, figure.ranks, strict=True):
        assert label.replace(" ", "") in written
        assert f"{rank:.2f}" in written


@pytest.mark.parametrize("id_", CHARTS)
def test_every_title_and_label_of_a_chart_is_written_once(id_: str) -> None:
    figure = CHARTS[id_]
    said = [box.text for box in drawn_and_boxes(id_)[1]]
    joined = "\n".join(said).replace("\n", "").replace(" ", "")
    expected = {figure.x_label, figure.y_label, figure.note, *figure.x_names}
    expected |= {one.label for panel in figure.panels for one in panel.series}
    expected |= {one.marker for panel in figure.panels for one in panel.series}
    for wanted in expected | {panel.title for panel in figure.panels}:
        assert wanted.replace(" ", "").replace("\n", "") in joined
    for label in {one.label for panel in figure.panels for one in panel.series}:
        assert said.count(label) <= 1


@pytest.mark.parametrize("name", [figure.name for figure in examples.everything()])
def test_figures_fit_into_one_or_two_columns(name: str) -> None:
    width, height = 72 * drawn_and_boxes(name)[0].get_size_inches()
    assert width in (pytest.approx(SINGLE), pytest.approx(DOUBLE))
    assert height < 72 * 9.5  # of a page


@pytest.mark.parametrize("id_", CHARTS)
def test_all_data_is_within_its_panel(id_: str) -> None:
    axes = [one for one in drawn_and_boxes(id_)[0].axes if one.get_label() != "sheet"]
    for panel, ax in zip(CHARTS[id_].panels, axes, strict=True):
        for one in panel.series:
            for end in (one.y, one.low, one.high):
                if end is not None:
                    assert ax.get_ylim()[0] <= end.min()
                    assert end.max() <= ax.get_ylim()[1]


def test_two_boxes_that_overlap_are_seen() -> None:
    # Otherwise the tests above would not test anything.
    drawn = Drawn(figsize=(2, 2))
    drawn.text(0.1, 0.5, "one text")
    drawn.text(0.2, 0.5, "another")
    drawn.text(0.1, 0.9, "far away")
    assert touching(text_boxes(drawn)) == [("one text", "another")]
    drawn.text(0.9, 0.1, "beyond the edge")
    assert max(box.corners[:, 0].max() for box in text_boxes(drawn)) > drawn.bbox.x1


def test_slanted_boxes_are_compared_as_they_lie() -> None:
    square = corners(Bbox([[0, 0], [2, 2]]))
    diamond = np.array([(2.0, 3.5), (3.5, 2.0), (5.0, 3.5), (3.5, 5.0)])
    assert not intersect(square, diamond)  # although the boxes around them overlap
    assert intersect(square, diamond - 1)


def test_an_empty_chart_says_so() -> None:
    nothing = Chart("empty", "Empty", (Panel("A", ()),), "x", "y")
    assert "no results" in [box.text for box in text_boxes(plots.draw(nothing))]
    of_nan = Series("s", np.array([1.0, 2.0]), np.full(2, np.nan))
    assert "no results" in [
        box.text for box in text_boxes(plots.draw(Chart("nan", "NaN", (Panel("", (of_nan,)),), "x", "y")))
    ]
    only_a_reference = Chart("reference", "Reference", (Panel("", (), reference=1.0),), "x", "y")
    assert "no results" in [box.text for box in text_boxes(plots.draw(only_a_reference))]
    plots.draw(Chart("none", "No panels", (), "x", "y"))


def test_dollar_signs_in_names_are_not_mathematics() -> None:
    points = Series("$s$", np.arange(2.0), np.arange(2.0), style="points")
    chart = Chart("c", "t", (Panel("$p$", (points,)),), "$x$", "$y$", note="$n$", x_names=("$a$", "$b$"))
    for figure in (RankDiagram("d", "t", ("$a$", "b_$c$"), np.array([1.0, 2.0]), ()), chart):
        drawn = plots.draw(figure)
        assert {"$a$"} <= {box.text for box in text_boxes(drawn)}
        texts = [text for text in drawn.findobj(Text) if isinstance(text, Text) and "$" in text.get_text()]
        assert not any(text.get_parse_math() for text in texts)
