"""Contact sheets of sample images (Fig. A.5) for the page, and the commands that draw them where there is none."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from imprint_sweep.embeddings import IMPORTED
from imprint_sweep.invocation import command, conf_folder

SHEETS = "figures/contact_sheet-*.png"
"""The sheets that the command ``contact_sheet`` has drawn, under the folder of the report."""

_PREFIX = "contact_sheet-"
_PAPERS_TASK, _PAPERS_CLASSES = "combi_digits", "[6]"


@dataclass(frozen=True)
class Sheet:
    """A contact sheet as the page shows it.

    Args:
        file: its path.
        caption: the task, the split and the seed, as the picture says them itself; else its file's name without prefix.
        source: the picture as a data URI.
        width, height: pixels.
    """

    file: Path
    caption: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Samples:
    """The section on samples.

    Args:
        sheets: every sheet there is, by file name.
        unreadable: names of files that are no pictures.
        commands: what draws sheets: the paper's, and one of a task of the results.
    """

    sheets: Sequence[Sheet]
    unreadable: Sequence[str]
    commands: Sequence[str]


def samples(frame: pd.DataFrame, root: Path) -> Samples:
    """Collect the contact sheets under the folder of a report.

    Args:
        frame: a results frame, for a task to draw.
        root: the folder of the page.
    """
    sheets, unreadable = [], []
    for path in sorted(root.glob(SHEETS)):
        try:
            sheets.append(_sheet(path))
        except (OSError, SyntaxError):  # SyntaxError: what Pillow raises at a broken PNG
            unreadable.append(path.name)
    return Samples(sheets, unreadable, _commands(frame))


def _sheet(path: Path) -> Sheet:
    with Image.open(path, formats=["PNG"]) as image:
        image.load()
        width, height = image.size
        caption = image.info.get("Title", path.stem.removeprefix(_PREFIX))
    source = f"data:image/png;base64,{b64encode(path.read_bytes()).decode('ascii')}"
    return Sheet(path, str(caption), source, width, height)


def _commands(frame: pd.DataFrame) -> list[str]:
    """The paper's sheet, and that of the task with the fewest classes among those that are options."""
    draw = command("contact_sheet")
    papers = f"{draw} task={_PAPERS_TASK} task.classes={_PAPERS_CLASSES}"
    embedded = frame[(frame["weights"] != IMPORTED) & (frame["task"] != _PAPERS_TASK)]
    tasks = embedded.groupby("task", observed=True)["n_labels"].max().sort_values(kind="stable").index
    options = conf_folder() / "task"
    return [papers, *[f"{draw} task={task}" for task in tasks if (options / f"{task}.yaml").is_file()][:1]]
