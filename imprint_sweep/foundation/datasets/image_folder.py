"""Any folder of images by class: ``<name>/train/<class>/...`` and ``<name>/test/<class>/...`` under the data root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imprint_sweep.errors import DatasetError
from imprint_sweep.foundation.datasets.split import Split

_GREY = ("1", "L", "I;16", "I", "F")


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Images that are decoded when they are indexed: (h, w) uint8 if the file is grey, else (h, w, 3).

    Args:
        paths: the files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        path = self.paths[index]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
            raise DatasetError(f"cannot read the image {path}: {error}") from error


def read(name: str, split: str, data_root: Path) -> Split:
    """Read one split of a folder.

    Labels are 0, 1, 2, ... in the alphabetical order of the class folders of the training split; within a class, images
    come in the order of their paths.

    Args:
        name: the folder.
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: a folder is missing or has no images, or the test split has a class that the training split lacks.
    """
    root = data_root / name
    classes, present = (_class_folders(root / part) for part in ("train", split))
    if unknown := sorted(set(present) - set(classes)):
        raise DatasetError(f"{root / split} has the classes {', '.join(unknown)}, which {root / 'train'} lacks")
    files = [
        (path, label)
        for label, folder in enumerate(classes)
        for path in sorted((root / split / folder).rglob("*"))
        if path.suffix.lower() in Image.registered_extensions()
    ]
    if not files:
        raise DatasetError(f"{root / split} has no images in its class folders")
    paths, labels = zip(*files, strict=True)
    return Split(ImageFiles(paths), np.array(labels, np.int64), str(root / split))


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; expected a folder of images for each class in it")
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
