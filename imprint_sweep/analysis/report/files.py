"""An artefact on disk: its tables as CSV, Markdown and LaTeX, its figures as PDF, SVG, PNG and the data behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imprint_sweep.analysis import rendering
from imprint_sweep.analysis.artefact import Artefact, Table
from imprint_sweep.errors import StoreError
from imprint_sweep.files.replacing import replacing

FORMATS = {"csv": rendering.csv, "md": rendering.markdown, "tex": rendering.latex}


def write(artefact: Artefact, folder: Path) -> list[Path]:
    """Write all of an artefact; files of an earlier time that it does not have any more are removed.

    Args:
        artefact: what to write.
        folder: where: a folder for this artefact alone.

    Returns:
        The files, tables first.

    Raises:
        StoreError: they cannot be written.
    """
    # Loading matplotlib takes longer than most tables take to make.
    from imprint_sweep.analysis import plots

    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [path for table in artefact.tables for path in write_table(table, folder)]
        written += [path for figure in artefact.figures for path in plots.write(figure, folder)]
        for path in set(folder.iterdir()) - set(written):
            if path.is_file():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be written: {error.strerror or error}") from error
    return written


def write_table(table: Table, folder: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write a table in some formats.

    Raises:
        OSError: it cannot be written.
    """
    return [write_text(folder / f"{table.name}.{suffix}", FORMATS[suffix](table)) for suffix in formats]


def write_text(path: Path, text: str) -> Path:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    with replacing(path) as file:
        file.write(text.encode())
    return path
