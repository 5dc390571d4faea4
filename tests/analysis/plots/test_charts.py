"""What is drawn is what came: coordinates, intervals, levels, the fit, colours."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from imprint_sweep.analysis import plots
from imprint_sweep.analysis.artefact import Chart, Panel, RankDiagram, Series
from imprint_sweep.analysis.plots.style import INK, PALETTE
from tests.analysis.plots import examples

X = np.array([1.0, 2.0, 5.0])


def axes_of(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.get_label() != "sheet"]


def draw_one(*series: Series, **options: object) -> Axes:
    panel = Panel("", series, reference=options.pop("reference", None))  # type: ignore[arg-type]
    return axes_of(plots.draw(Chart("c", "t", (panel,), "x", "y", **options)))[0]  # type: ignore[arg-type]


def lines(axes: Axes) -> list[Line2D]:
    return [line for line in axes.lines if isinstance(line, Line2D)]


def ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata(), np.float64)]


def test_lines_go_through_the_data_in_their_colour() -> None:
    axes = draw_one(
        Series("kmeans", X, X**2, colour="gen:kmeans"), Series("b", X, -X, style="dashed", colour="gen:fps")
    )
    first, second = lines(axes)
    np.testing.assert_array_equal(first.get_xydata(), np.column_stack([X, X**2]))
    np.testing.assert_array_equal(second.get_xydata(), np.column_stack([X, -X]))
    assert first.get_color() == PALETTE[0][0]
    assert first.get_linestyle() == "-"
    assert second.get_linestyle() == "--"


def test_an_interval_is_a_band_around_a_line_and_a_bar_through_a_point() -> None:
    axes = draw_one(Series("a", X, X, X - 0.5, X + 1))
    (band,) = [found for found in axes.collections if isinstance(found, FillBetweenPolyCollection)]
    box = band.get_paths()[0].get_extents()
    assert (box.x0, box.x1, box.y0, box.y1) == (1, 5, 0.5, 6)
    axes = draw_one(Series("a", X, X, X - 0.5, X + 1, style="points"))
    (bars,) = [found for found in axes.collections if isinstance(found, LineCollection)]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [[0.5, 2.0], [1.5, 3.0], [4.5, 6.0]]


def test_a_level_and_a_reference_cross_the_whole_panel() -> None:
    axes = draw_one(Series("a", X, X), Series("all", np.zeros(1), np.array([3.0]), style="level"), reference=1.5)
    level = next(line for line in lines(axes) if ys(line) == [3.0, 3.0])
    np.testing.assert_array_equal(level.get_xdata(), axes.get_xlim())
    assert level.get_marker() in ("none", "None")
    assert any(ys(line) == [1.5, 1.5] for line in lines(axes))


def test_a_hollow_point_is_hollow() -> None:
    (point,) = lines(draw_one(Series("mean", X[:1], X[:1], style="hollow", colour="gen:mean")))
    assert (point.get_marker(), point.get_linestyle()) == ("o", "None")
    assert to_hex(point.get_markerfacecolor()) == "#ffffff"
    assert to_hex(point.get_markeredgecolor()) == INK


def test_the_fit_is_the_line_that_came() -> None:
    axes = axes_of(plots.draw(examples.fig12()))[0]
    xs = np.concatenate([one.x for one in examples.fig12().panels[0].series])
    fit = next(line for line in lines(axes) if len(np.asarray(line.get_xdata())) == 100)
    x, y = np.asarray(fit.get_xdata(), float), np.asarray(fit.get_ydata(), float)
    np.testing.assert_allclose(y, 6.82 * np.log10(x) + 4.2)
    assert (x[0], x[-1]) == (pytest.approx(xs.min()), pytest.approx(xs.max()))


def test_points_have_the_colour_of_one_thing_and_the_shape_of_another() -> None:
    chart = examples.fig12()
    drawn = {
        (one.label, one.marker): (line.get_color(), line.get_marker())
        for one, line in zip(chart.panels[0].series, lines(axes_of(plots.draw(chart))[0]), strict=False)
    }
    assert len(drawn) == 20
    for part in (0, 1):  # label and colour, marker and shape go together, one to one
        pairs = {(key[part], value[part]) for key, value in drawn.items()}
        assert len(pairs) == len({key[part] for key in drawn}) == len({value[part] for value in drawn.values()})


def test_axes_are_of_the_scale_that_was_asked_for() -> None:
    axes = draw_one(Series("a", X, X), x_scale="log", y_scale="symlog")
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "symlog")


def test_what_a_logarithm_cannot_show_is_left_out() -> None:
    axes = draw_one(Series("a", np.array([0.0, 1.0, 10.0]), np.array([-1.0, 1.0, 2.0])), x_scale="log", y_scale="log")
    assert axes.get_xlim()[0] > 0
    assert axes.get_ylim()[0] > 0


def test_points_at_one_name_stand_side_by_side() -> None:
    places = np.arange(2.0)
    series = tuple(Series(name, places, places, style="points") for name in "abc")
    axes = axes_of(plots.draw(Chart("c", "t", (Panel("", series),), "", "y", x_names=("p", "q"))))[0]
    xs = np.array([line.get_xdata() for line in lines(axes)], float)
    assert np.all(np.diff(xs, axis=0) > 0.1)
    assert np.all(np.abs(xs - places) < 0.5)
    np.testing.assert_allclose(xs.mean(axis=0), places)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["p", "q"]


@pytest.mark.parametrize("share", ["all", "row"])
def test_panels_share_their_axes(share: str) -> None:
    panels = tuple(Panel(str(i), (Series("a", X * (i + 1), X * (i + 1)),)) for i in range(6))
    axes = axes_of(plots.draw(Chart("c", "t", panels, "x", "y", columns=3, share_y=share)))  # type: ignore[arg-type]
    assert len({ax.get_xlim() for ax in axes}) == 1
    rows = [{ax.get_ylim() for ax in axes[:3]}, {ax.get_ylim() for ax in axes[3:]}]
    assert [len(row) for row in rows] == [1, 1]
    assert (rows[0] == rows[1]) == (share == "all")


def test_only_the_outer_panels_have_numbers() -> None:
    panels = tuple(Panel(str(i), (Series("a", X, X),)) for i in range(5))
    axes = axes_of(plots.draw(Chart("c", "t", panels, "x", "y", columns=3)))

    def numbered(labels: list[object]) -> bool:
        return any(str(label.get_text()) for label in labels)  # type: ignore[attr-defined]

    assert [numbered(ax.get_yticklabels()) for ax in axes] == [True, False, False, True, False]  # type: ignore[arg-type]
    # The third has none below it.
    assert [numbered(ax.get_xticklabels()) for ax in axes] == [False, False, True, True, True]  # type: ignore[arg-type]


def test_a_diagram_is_in_ink_unless_it_has_colours() -> None:
    def colours(diagram: RankDiagram) -> set[str]:
        return {to_hex(line.get_color()) for line in plots.draw(diagram).axes[0].lines}

    assert colours(examples.fig8()) == {INK}
    assert PALETTE[0][0].lower() in colours(examples.fig5())
