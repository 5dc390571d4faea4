"""Any folder of images by class: ``<name>/train/<class>/...`` and ``<name>/test/<class>/...`` under the data root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from imprint_sweep.errors import DatasetError
from imprint_sweep.foundation.datasets.image_files import ImageFile, ImageFiles
from imprint_sweep.foundation.datasets.split import Split


def read(name: str, split: str, data_root: Path) -> Split:
    """Read one split of a folder.

    Labels are 0, 1, 2, ... in the alphabetical order of the class folders of the training split; within a class, images
    come in the order of their paths. Hidden files and folders are no part of it.

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
    found = [
        (ImageFile(path), label)
        for label, folder in enumerate(classes)
        for path in sorted((root / split / folder).rglob("*"))
        if path.suffix.lower() in Image.registered_extensions()
        and not any(part.startswith(".") for part in path.relative_to(root / split).parts)
    ]
    if not found:
        raise DatasetError(f"{root / split} has no images in its class folders")
    files, labels = zip(*found, strict=True)
    return Split(ImageFiles(files), np.array(labels, np.int64), str(root / split))


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder; expected a folder of images for each class in it")
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
