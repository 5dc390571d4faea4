"""Text is as wide as it is said to be, and its lines fit."""

from __future__ import annotations

import matplotlib.figure
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from imprint_sweep.analysis.plots import text
from imprint_sweep.analysis.plots.style import applied

words = st.text("abcdef_/-,=", min_size=1, max_size=30)


@pytest.mark.parametrize("dpi", [72, 100, 220])
@pytest.mark.parametrize("line", ["k-means (k = 20)", "iiiiiiii", "WWWW", "0.0070", "R² = 0.36, ρ ≥ 0.8", "a $b$ c_d"])
def test_a_line_is_as_wide_as_the_renderer_draws_it(line: str, dpi: int) -> None:
    with applied():
        figure = matplotlib.figure.Figure(dpi=dpi)
        FigureCanvasAgg(figure)
        drawn = figure.text(0, 0, line, size=7.0).get_window_extent().width * 72 / dpi
    assert text.width(line, 7.0) == pytest.approx(drawn, abs=0.5)


@given(st.lists(words, min_size=1, max_size=8), st.floats(20, 200))
def test_lines_fit_and_nothing_is_lost(given_words: list[str], limit: float) -> None:
    given_text = " ".join(given_words)
    found = text.wrapped(given_text, limit, 7.0)
    assert all(text.width(line, 7.0) <= limit for line in found.split("\n"))
    assert found.replace("\n", "").replace(" ", "") == given_text.replace(" ", "")


@given(st.lists(words, min_size=1, max_size=8))
def test_what_fits_stays_in_one_line(given_words: list[str]) -> None:
    assume(all(word.strip() for word in given_words))
    assert text.wrapped(" ".join(given_words), 10_000, 7.0) == " ".join(given_words)


def test_words_break_where_they_may() -> None:
    assert text.wrapped("two words", 30, 7.0) == "two\nwords"
    assert text.wrapped("none/quantile/none", 55, 7.0) == "none/quantile/\nnone"
    assert text.wrapped("abcdefghijkl", 25, 7.0).replace("\n", "") == "abcdefghijkl"
    assert text.wrapped("", 30, 7.0) == ""
