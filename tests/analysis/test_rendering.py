"""Tables as text: what a reader sees is rounded as they expect, what a program reads is exact, and LaTeX compiles."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imprint_sweep.analysis import rendering, tex
from imprint_sweep.analysis.artefact import Column, Kind, Table
from imprint_sweep.analysis.rendering import text_of

EVERY_SPECIAL_CHARACTER = "a\\b {c} $d$ 5% #1 e_f ~g ^h & <i> |j| \"k\" `l` 'm' --n ---o"
EVERY_SYMBOL = "".join(character for character in tex._ESCAPED if character not in EVERY_SPECIAL_CHARACTER)


def table(frame: pd.DataFrame, *columns: Column, title: str = "A title", note: str = "") -> Table:
    return Table("fig5", title, columns, frame, note)


def accuracies(*values: float | None) -> Table:
    return table(pd.DataFrame({"acc": values}, dtype=float), Column("acc", "accuracy in %", "percent", "highest"))


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        # The numbers of the document.
        (0.9106, "percent", "91.06"), (2.0, "rank", "2.00"), (3.667, "rank", "3.67"), (4.270833, "rank", "4.27"),
        (7.105427357601002e-15, "p", "7.1e-15"), (0.00696877, "p", "0.0070"), (2.3249e-05, "p", "2.3e-5"),
        (0.70807, "p", "0.7081"), (1.0, "p", "1"), (1, "p", "1"), (0.0, "p", "0"),
        (0.0029, "seconds", "0.0029"), (1.2249, "seconds", "1.22"), (0.1593, "seconds", "0.159"),
        (396024, "count", "396,024"),
        # A p-value never reads like the level that it missed.
        (0.0499, "p", "0.0499"), (0.0501, "p", "0.0501"), (0.00099, "p", "9.9e-4"),
        (2371.7, "seconds", "2,372"), (12.0, "seconds", "12.0"), (9.996, "seconds", "10.0"), (0.0, "seconds", "0"),
        (3.2e-6, "seconds", "3.2e-6"),
        (6.8186, "number", "6.819"), (0.3559, "number", "0.3559"), (1230, "number", "1,230"), (0.5, "number", "0.5"),
        (20, "number", "20"), (-2.6078, "number", "−2.608"), (4.2e-7, "number", "4.2e-7"),
        (123456.7, "number", "123,457"),
        (2.5, "count", "2.5"), (0, "count", "0"), (np.int64(1000), "count", "1,000"),
        (-0.0012, "percent", "−0.12"), (-0.000001, "percent", "0.00"), (1.0, "percent", "100.00"),
        (float("inf"), "number", "∞"), (float("-inf"), "number", "−∞"),
        ("k-means", "text", "k-means"), (20.0, "text", "20"), (0.5, "text", "0.5"), (True, "text", "True"),
        ("two\n lines", "text", "two lines"),
    ],
)  # fmt: skip
def test_a_value_is_written_as_its_reader_expects(value: object, kind: Kind, expected: str) -> None:
    assert text_of(value, kind) == expected


@pytest.mark.parametrize("kind", ["text", "count", "percent", "rank", "p", "seconds", "number"])
@pytest.mark.parametrize("missing", [None, float("nan"), np.float64("nan"), pd.NA, pd.NaT])
def test_what_is_missing_is_a_dash(missing: object, kind: Kind) -> None:
    assert text_of(missing, kind) == "–"


@given(st.floats(1e-12, 1e9), st.sampled_from(["seconds", "number"]))
def test_rounding_keeps_significant_digits(value: float, kind: Kind) -> None:
    digits = {"seconds": 3, "number": 4}[kind]
    coarse = value < 1e-4  # two digits and a power
    shown = float(text_of(value, kind).replace(",", ""))
    # Seconds have at most four digits behind the point.
    assert abs(shown - value) <= max(0.51 * 10 ** -(1 if coarse else digits - 1) * value, 0.0 if coarse else 0.00005)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1, allow_nan=False)), min_size=1, max_size=8))
def test_the_best_is_what_no_other_reads_better_than(values: list[float | None]) -> None:
    shown = accuracies(*values)
    marks = rendering.best(shown)[:, 0]
    present = [value for value in values if value is not None]
    if len(present) < 2:
        assert not marks.any()
    else:
        reads_best = f"{100 * max(present):.2f}"
        assert marks.tolist() == [value is not None and f"{100 * value:.2f}" == reads_best for value in values]


def test_ties_for_best_are_all_best() -> None:
    assert rendering.best(accuracies(0.91, 0.9, 0.91))[:, 0].tolist() == [True, False, True]
    # 0.868412 and 0.868409 both read 86.84: bold for one of them alone would look like a mistake.
    assert rendering.best(accuracies(0.868412, 0.868409, 0.8679))[:, 0].tolist() == [True, True, False]


def test_the_lowest_is_best_where_it_says_so_and_nothing_where_it_says_nothing() -> None:
    frame = pd.DataFrame({"rank": [2.0, 1.0], "n": [1, 2]})
    shown = table(frame, Column("rank", "rank", "rank", "lowest"), Column("n", "n", "count"))
    assert rendering.best(shown).tolist() == [[False, False], [True, False]]


def test_csv_is_exact_and_holds_what_is_shown() -> None:
    frame = pd.DataFrame(
        {
            "gen": pd.Categorical(["kmeans", 'a,"b"', None]),
            "acc": [0.1 + 0.2, np.nan, 1 / 3],
            "k": pd.array([20, None, 1], dtype="Int64"),
            "hidden": [1, 2, 3],
        }
    )
    shown = table(frame, Column("acc", "accuracy in %", "percent"), Column("gen", "GEN"), Column("k", "k"))
    read = pd.read_csv(io.StringIO(rendering.csv(shown)), dtype={"k": "Int64"})
    expected = frame[["acc", "gen", "k"]].assign(gen=frame["gen"].astype("str"))
    pd.testing.assert_frame_equal(read, expected)  # to the last bit
    assert read["acc"].tolist()[0] == 0.1 + 0.2


def cells_of(line: str) -> list[str]:
    """The cells of a row of a Markdown table, as a reader of Markdown finds them."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_markdown_is_aligned_with_the_best_in_bold() -> None:
    frame = pd.DataFrame({"gen": ["k-means", "cov_max"], "acc": [0.9106, 0.8398], "s": [1.2249, None]})
    shown = table(
        frame,
        Column("gen", "GEN"),
        Column("acc", "accuracy in %", "percent", "highest"),
        Column("s", "GEN in s", "seconds"),
        note="Mean over 48 instances.",
    )
    assert rendering.markdown(shown) == (
        "**A title**\n"
        "\n"
        "| GEN     | accuracy in % | GEN in s |\n"
        "| ------- | ------------: | -------: |\n"
        "| k-means |     **91.06** |     1.22 |\n"
        "| cov_max |         83.98 |        – |\n"
        "\n"
        "Mean over 48 instances.\n"
    )


@given(st.text("ab|\\`*_<[1 ", min_size=1, max_size=12).filter(lambda text: text.strip() == text))
def test_no_text_breaks_a_row_of_markdown(text: str) -> None:
    shown = table(pd.DataFrame({"a": [text], "b": [1]}), Column("a", "a"), Column("b", "b", "count"))
    row = rendering.markdown(shown).splitlines()[4]
    found, one = cells_of(row)
    assert one == "1"
    assert re.sub(r"\\(.)", r"\1", found) == " ".join(text.split())  # what Markdown makes of the escapes
    assert not re.search(r"[`*|]|<[a-z]", re.sub(r"\\.", "\\\\", found))


def latex_tables() -> list[Table]:
    """What could go wrong: every special character everywhere, every kind with every oddity, no rows, one column."""
    values = [0.5, 0.00123, -1.5, 1e-9, 12345.678, np.inf, -np.inf, np.nan, 1.0, 0.0]
    kinds: list[Kind] = ["count", "percent", "rank", "p", "seconds", "number"]
    frame = pd.DataFrame({"name": [EVERY_SPECIAL_CHARACTER, EVERY_SYMBOL, *"abcdefgh"]} | dict.fromkeys(kinds, values))
    columns = [Column("name", EVERY_SPECIAL_CHARACTER)]
    columns += [Column(kind, EVERY_SYMBOL[i * 8 : i * 8 + 8], kind, "lowest") for i, kind in enumerate(kinds)]
    everything = table(frame, *columns, title=EVERY_SPECIAL_CHARACTER + EVERY_SYMBOL, note=EVERY_SPECIAL_CHARACTER)
    return [everything, table(frame.iloc[:0], *columns), table(frame, columns[1])]


def test_latex_has_as_many_cells_in_each_row_as_columns() -> None:
    for shown in latex_tables():
        written = rendering.latex(shown)
        alignment = re.search(r"\\begin\{tabular\}\{([lr]+)\}", written)
        assert alignment
        assert alignment[1] == "".join("l" if column.kind == "text" else "r" for column in shown.columns)
        rows = re.findall(r"^    (.*) \\\\$", written, re.MULTILINE)
        assert len(rows) == 1 + len(shown.frame)
        assert {len(re.split(r"(?<!\\)&", row)) for row in rows} == {len(shown.columns)}
        assert [written.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]


def test_latex_puts_points_below_each_other() -> None:
    frame = pd.DataFrame({"s": [0.0029, 1.2249, 2371.7, 1e-6], "p": [1.0, 0.0070, 7.1e-15, None]})
    written = rendering.latex(table(frame, Column("s", "s", "seconds", "lowest"), Column("p", "p", "p")))
    rows = [re.split(r" +& +| \\\\$", row.strip())[:2] for row in written.splitlines() if "&" in row][1:]
    assert rows == [
        ["0.0029", r"1\phantom{.0000}"],
        [r"1.22\phantom{00}", "0.0070"],
        [r"2,372\phantom{.0000}", r"$7.1 \times 10^{-15}$"],
        [r"{\boldmath$1.0 \times 10^{-6}$}", r"\textendash{}"],
    ]


@pytest.mark.parametrize("encoding", ["", r"\usepackage[T1]{fontenc}"])
def test_latex_compiles(encoding: str, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("Debian's texlive-latex-recommended is not installed")
    body = "\n".join(map(rendering.latex, latex_tables()))
    document = rf"\documentclass{{article}}{encoding}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "tables.tex").write_text(document, encoding="utf-8")
    finished = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-2000:]
    assert (tmp_path / "tables.pdf").stat().st_size > 1000
