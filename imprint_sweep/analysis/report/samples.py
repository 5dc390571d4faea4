"""Pictures that other commands have drawn, for the page: contact sheets (Fig. A.5) and projections (Fig. 3).

Where there are none, the commands that draw them.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from imprint_sweep.analysis.data import filling
from imprint_sweep.analysis.data.results import MODEL, TASK, Results
from imprint_sweep.grid import commands
from imprint_sweep.grid.choosing import IMPORTED, TEXT_MODELS, Chosen, chosen_dataset, is_option

SHEETS = "figures/contact_sheet-*.png"
"""The sheets that the command ``contact_sheet`` has drawn, under the folder of the report."""

PROJECTIONS = "figures/projection-*.png"
"""The same of the command ``projection``."""

_PAPERS_TASK, _PAPERS_CLASSES = "combi_digits", [6]


@dataclass(frozen=True)
class Drawing:
    """A picture as the page shows it.

    Args:
        file: its path.
        caption: what it shows, as the picture says itself; else its file's name without prefix.
        source: the picture as a data URI.
        width, height: pixels.
    """

    file: Path
    caption: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Drawn:
    """The pictures of one kind.

    Args:
        pictures: every one there is, by file name.
        unreadable: names of files that are no pictures.
        commands: what draws some.
    """

    pictures: Sequence[Drawing]
    unreadable: Sequence[str]
    commands: Sequence[str]


def samples(results: Results, root: Path) -> Drawn:
    """Collect the contact sheets under the folder of a report.

    Args:
        results: for a task to draw.
        root: the folder of the page.
    """
    return Drawn(*_pictures(root, SHEETS), _commands(results))


def projections(results: Results, root: Path) -> Drawn:
    """Collect the projections under the folder of a report.

    Args:
        results: for a model and a task to draw.
        root: the folder of the page.
    """
    frame = results.frame
    rows = frame[frame["limit"].isna()]
    sizes = rows.groupby([*MODEL, *TASK], observed=True, dropna=False).ngroup()
    most = rows[sizes == sizes.mode().min()]  # the model and the task with the most rows
    draw = []
    if len(most):
        draw.append(commands.projection(filling.chosen(most, results), results.outputs))
    return Drawn(*_pictures(root, PROJECTIONS), draw)


def _pictures(root: Path, pattern: str) -> tuple[list[Drawing], list[str]]:
    """The pictures whose paths fit, and the names of files that are none."""
    found, unreadable = [], []
    for path in sorted(root.glob(pattern)):
        try:
            found.append(_picture(path))
        except (OSError, SyntaxError):  # SyntaxError: what Pillow raises at a broken PNG
            unreadable.append(path.name)
    return found, unreadable


def _picture(path: Path) -> Drawing:
    with Image.open(path, formats=["PNG"]) as image:
        image.load()
        width, height = image.size
        caption = image.info.get("Title", path.stem.partition("-")[2])
    source = f"data:image/png;base64,{b64encode(path.read_bytes()).decode('ascii')}"
    return Drawing(path, str(caption), source, width, height)


def _commands(results: Results) -> list[str]:
    """The paper's sheet, and that of the task with the fewest classes among those that are options."""
    frame = results.frame
    images = (frame["weights"] != IMPORTED) & ~frame["model"].isin(TEXT_MODELS)
    embedded = frame[images & (frame["task"] != _PAPERS_TASK)]
    tasks = embedded.groupby("task", observed=True)["n_labels"].max().sort_values(kind="stable").index
    drawn: list[Chosen] = [{"task": _PAPERS_TASK, "task.classes": _PAPERS_CLASSES}]
    drawn += [chosen_dataset(task) for task in tasks if is_option("task", task)][:1]
    return [commands.contact_sheet(chosen, results.outputs) for chosen in drawn]
