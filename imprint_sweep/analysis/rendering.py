"""Tables as text: CSV for programs, Markdown for pages, LaTeX for papers.

The CSV has full precision; Markdown and LaTeX have what a reader wants to see, the best of a column in bold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis import tex
from imprint_sweep.analysis.artefact import Column, Kind, Table
from imprint_sweep.wording import padded, visible

DASH = "–"
"""Stands for a missing value."""

_MINUS = "−"

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")
"""How a cell begins that a spreadsheet computes."""
_NUMBERS = re.compile(r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?(,[+-]?\d+)*")
"""A number, or a list of classes."""


def text_of(value: object, kind: Kind) -> str:
    """One value as a reader sees it; a dash for a missing one.

    - ``percent``: a share in percent, two digits.
    - ``rank``: two digits.
    - ``count``: thousands separators; whole numbers as such, others with one digit.
    - ``p``: four digits, so that no p-value looks like the level that it missed; below 0.001 two significant ones.
    - ``seconds``: three significant digits, never more than four behind the point; below 0.0001 two significant ones.
    - ``number``: four significant digits.
    - ``text``: as it is; whole numbers without a point.

    >>> [text_of(p, "p") for p in (7.105e-15, 0.00697, 0.0499, 1.0, None)]
    ['7.1e-15', '0.0070', '0.0499', '1', '–']
    >>> text_of(0.9106, "percent"), text_of(199548, "count"), text_of(1.2249, "seconds"), text_of(20.0, "text")
    ('91.06', '199,548', '1.22', '20')
    """
    if value is None or value is pd.NA or value is pd.NaT or value != value:
        return DASH
    if kind == "text":
        whole = isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value)
        return str(int(value)) if whole else " ".join(visible(str(value)).split())  # type: ignore[call-overload]
    number = float(value)  # type: ignore[arg-type]
    if math.isinf(number):
        return "∞" if number > 0 else f"{_MINUS}∞"
    text = _number(abs(number), kind)
    return f"{_MINUS}{text}" if number < 0 and re.search("[1-9]", text) else text


def texts(table: Table) -> list[list[str]]:
    """The cells of a table as a reader sees them: one list a row, in the order of its columns."""
    columns = [[text_of(value, column.kind) for value in table.frame[column.name].tolist()] for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def best(table: Table) -> NDArray[np.bool_]:
    """Which cells of a table hold the best value of their column.

    Two values that read the same are the same to the reader, so both are best. Nothing is best where fewer than two
    values are compared.

    Args:
        table: with `best` set at the columns in question.

    Returns:
        (rows, columns) bool.
    """
    found = np.zeros((len(table.frame), len(table.columns)), np.bool_)
    for i, column in enumerate(table.columns):
        if column.best is None:
            continue
        values = table.frame[column.name].to_numpy(np.float64, na_value=np.nan)
        if np.count_nonzero(~np.isnan(values)) < 2:
            continue
        top = np.nanmax(values) if column.best == "highest" else np.nanmin(values)
        shown = text_of(top, column.kind)
        found[:, i] = [text_of(value, column.kind) == shown for value in values]
    return found


def is_number(column: Column) -> bool:
    """Whether a column stands at the right, digits below digits."""
    return column.kind != "text"


def csv(table: Table) -> str:
    """A table for programs: the shown columns under their names in the frame, full precision, nothing for missing."""
    return csv_of(table.frame[[column.name for column in table.columns]])


def csv_of(frame: pd.DataFrame) -> str:
    """A frame as CSV in full precision. Texts that a spreadsheet would take for formulas begin with an apostrophe."""
    texts = {
        str(name): pd.Series([_no_formula(value) for value in column], frame.index, dtype=object)
        for name, column in frame.items()
        if not pd.api.types.is_numeric_dtype(column.dtype)
    }
    return frame.assign(**texts).to_csv(index=False, lineterminator="\n")


def _no_formula(value: object) -> object:
    """A text without what cannot be shown, that no spreadsheet computes; numbers, also written out, as they are."""
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBERS.fullmatch(text) else text


def markdown(table: Table) -> str:
    """A table in GitHub's Markdown, with its title above and its note below."""
    rows = [
        [f"**{text}**" if stands_out else text for text, stands_out in zip(map(_markdown, row), marks, strict=True)]
        for row, marks in zip(texts(table), best(table), strict=True)
    ]
    heads = [_markdown(column.title) for column in table.columns]
    numbers = {i for i, column in enumerate(table.columns) if is_number(column)}
    head, rule, *cells = padded([heads, ["---"] * len(heads), *rows], right=numbers)
    rule = [f"{'-' * (len(cell) - 1)}{':' if i in numbers else '-'}" for i, cell in enumerate(rule)]
    lines = [f"| {' | '.join(row)} |" for row in (head, rule, *cells)]
    parts = [f"**{_markdown(table.title)}**", "\n".join(lines), _markdown(table.note)]
    return "\n\n".join(part for part in parts if part) + "\n"


def latex(table: Table) -> str:
    """A table in LaTeX, a float with caption and label (``tab:<name>``); it needs the package booktabs.

    Numbers stand at the right. Where those of a column differ in digits behind the point, invisible digits make up for
    it, so that the points are below each other without a further package.
    """
    rows, marks = texts(table), best(table)
    columns = [
        _latex_column([row[i] for row in rows], marks[:, i].tolist(), is_number(column))
        for i, column in enumerate(table.columns)
    ]
    heads = [tex.escaped(column.title) for column in table.columns]
    body = [heads, *map(list, zip(*columns, strict=True))]
    lines = [" & ".join(row).rstrip() + r" \\" for row in padded(body, right=())]
    alignment = "".join("r" if is_number(column) else "l" for column in table.columns)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{tex.escaped(table.title)}}}",
            rf"  \label{{tab:{table.name}}}",
            r"  \smallskip",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            f"    {lines[0]}",
            r"    \midrule",
            *(f"    {line}" for line in lines[1:]),
            r"    \bottomrule",
            r"  \end{tabular}",
            *([rf"  \par\smallskip{{\footnotesize {tex.escaped(table.note)}\par}}"] if table.note else []),
            r"\end{table}",
            "",
        ]
    )


def _number(number: float, kind: Kind) -> str:
    """A finite number that is not negative."""
    match kind:
        case "count":
            return f"{number:,.0f}" if number == round(number) else f"{number:,.1f}"
        case "percent":
            return f"{100 * number:,.2f}"
        case "rank":
            return f"{number:.2f}"
        case "p":
            return f"{number:.0f}" if number in (0, 1) else f"{number:.4f}" if number >= 0.001 else _power(number)
        case "seconds":
            return _power(number) if 0 < number < 0.0001 else _significant(number, 3, 4)
        case _:
            text = _power(number) if 0 < number < 0.0001 else _significant(number, 4, 7)
            return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def _significant(number: float, digits: int, most: int) -> str:
    """Rounded to significant digits, with at most `most` behind the point and whole numbers kept whole."""
    if number == 0:
        return "0"
    magnitude = math.floor(math.log10(float(f"{number:.{digits - 1}e}")))
    return f"{number:,.{min(max(digits - 1 - magnitude, 0), most)}f}"


def _power(number: float) -> str:
    """Two significant digits and a power of ten: 2.3e-5."""
    digits, exponent = f"{number:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


def _markdown(text: str) -> str:
    """Escaped where it would mean something in a cell. Underscores within words mean nothing, nor does ``k < 5``."""
    text = re.sub(r"([\\`*\[\]|~]|<(?=[A-Za-z/!?])|&(?=#?\w+;))", r"\\\1", visible(text))
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)


def _latex_column(cells: Sequence[str], marks: Sequence[bool], number: bool) -> list[str]:
    """The cells of a column as LaTeX; of numbers, with the points below each other."""
    written = [tex.number(cell) if number else tex.escaped(cell) for cell in cells]
    written = [tex.bold(cell) if mark else cell for cell, mark in zip(written, marks, strict=True)]
    return [cell + pad for cell, pad in zip(written, _padding(cells), strict=True)] if number else written


def _padding(numbers: Sequence[str]) -> list[str]:
    """What makes up for the digits behind the point that others of the column have; nothing at powers of ten."""
    tails = []
    for number in numbers:
        found = re.fullmatch(rf"{_MINUS}?[0-9,]+(\.[0-9]+)?", number)
        tails.append(None if found is None else found[1] or "")
    longest = max((tail for tail in tails if tail), key=len, default="")
    longest = "." + "0" * (len(longest) - 1) if longest else ""
    return [
        rf"\phantom{{{longest[len(tail) :]}}}" if tail is not None and len(tail) < len(longest) else ""
        for tail in tails
    ]
