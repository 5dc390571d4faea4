"""Any folder of images by class: ``<name>/train/<class>/...`` and ``<name>/test/<class>/...`` under the data root."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets.image_files import ImageFile, ImageFiles, why_no_image
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages
from imprint_sweep.telling import note

SYSTEM_FOLDERS = frozenset(
    {"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
)
"""Folders that archivers and file servers put between those of a user: resource forks, thumbnails, deleted files."""

_THREADS = 16
"""Files looked at together: on a network drive each has to be waited for."""


class Skipped(NamedTuple):
    """A file that is no image, and why.

    Args:
        path: the file.
        reason: a part of a sentence.
    """

    path: Path
    reason: str


def read(name: str, split: Split, data_root: Path) -> LabelledImages:
    """Read one split of a folder.

    Labels are 0, 1, 2, ... in the alphabetical order of the class folders of the training split; within a class, images
    come as torchvision's ImageFolder lists them: folder after folder by path, and within a folder by name. An image is
    what Pillow can open, whatever its suffix; what else lies there is skipped, and a note says what and how much. Links
    are followed, but no folder is read twice for one class. Hidden files and folders are no part of it, nor are
    :data:`SYSTEM_FOLDERS`.

    Args:
        name: the folder.
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: a folder is missing or cannot be read, a class has no images, or the two splits have not the same
            classes.
    """
    root = data_root / name
    classes = _classes(root, split)
    files = [(path, label) for label, folder in enumerate(classes) for path in _files(root / split / folder)]
    with ThreadPoolExecutor(_THREADS) as executor:
        reasons = list(executor.map(why_no_image, (path for path, _ in files)))
    found = [entry for entry, reason in zip(files, reasons, strict=True) if reason is None]
    skipped = [Skipped(path, reason) for (path, _), reason in zip(files, reasons, strict=True) if reason is not None]
    skipped += [Skipped(path, "it lies beside the class folders") for path in _beside(root / split)]
    filled = {label for _, label in found}
    if empty := [folder for label, folder in enumerate(classes) if label not in filled]:
        raise DatasetError(_nothing_in(root / split, empty, skipped))
    if not found:
        raise DatasetError(f"{root / split} has no images in folders, one for each class; it has {shown(root / split)}")
    if skipped:
        note(_summary(root / split, skipped))
    paths, labels = zip(*found, strict=True)
    return LabelledImages(
        ImageFiles([ImageFile(path) for path in paths]), np.array(labels, np.int64), str(root / split)
    )


def check(name: str, data_root: Path) -> None:
    """Find out before hours of work whether both splits have images of the same classes.

    Raises:
        DatasetError: see :func:`read`.
    """
    for split in ("train", "test"):
        root = data_root / name
        for folder in _classes(root, split):
            files = _files(root / split / folder)
            if all(why_no_image(path) is not None for path in files):
                skipped = [Skipped(path, why_no_image(path) or "") for path in files]
                raise DatasetError(_nothing_in(root / split, [folder], skipped))


def _classes(root: Path, split: Split) -> list[str]:
    """The class folders of the training split, which those of the split must be too."""
    classes, present = (_class_folders(root, part) for part in ("train", split))
    if unknown := sorted(set(present) - set(classes)):
        raise DatasetError(f"{root / split} has {_listed(unknown)}, which {root / 'train'} lacks")
    if absent := sorted(set(classes) - set(present)):
        raise DatasetError(f"{root / split} has no folder for {_listed(absent)}, which {root / 'train'} has")
    return classes


def _class_folders(root: Path, split: Split) -> list[str]:
    folder = root / split
    if not folder.is_dir():
        raise DatasetError(
            f"{folder} is no folder; expected a folder of images for each class in it. {root} has {shown(root)}: "
            "rename what is meant, or link to it"
        )
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and _belongs(path.name))


def _files(folder: Path) -> list[Path]:
    """Every file below a class folder, in the order of torchvision's ImageFolder."""
    # A link to a folder above would otherwise bring in all the other classes.
    seen = {_identity(place) for place in (folder, *folder.absolute().parents, *folder.resolve().parents)}
    found = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        folders[:] = _unseen(place, folders, seen)
        found += [(place, name) for name in names if _belongs(name)]
    return [Path(place, name) for place, name in sorted(found)]


def _unseen(place: str, folders: Sequence[str], seen: set[tuple[int, int]]) -> list[str]:
    """Those folders in a place that belong to the dataset and were not read already; links come last."""
    kept = []
    for name in sorted(folders, key=lambda name: (os.path.islink(os.path.join(place, name)), name)):
        identity = _identity(Path(place, name))
        if _belongs(name) and identity not in seen:
            seen.add(identity)
            kept.append(name)
    return kept


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _refuse(error: OSError) -> None:
    raise DatasetError(f"cannot read the folder {error.filename}: {error.strerror}") from error


def _beside(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if not path.is_dir() and _belongs(path.name))


def _belongs(name: str) -> bool:
    return not name.startswith(".") and name not in SYSTEM_FOLDERS


def _nothing_in(folder: Path, empty: Sequence[str], skipped: Sequence[Skipped]) -> str:
    message = f"{folder} has no images that Pillow can open for {_listed(empty)}"
    own = [one for one in skipped if one.path.relative_to(folder).parts[0] in empty]
    tried = (
        f"; cannot read the image {own[0].path}: {own[0].reason} ({len(own):,} of its files are no images)"
        if own
        else ""
    )
    return f"{message}{tried}; fill the folder of each class in train and test, or delete it in both"


def _summary(folder: Path, skipped: Sequence[Skipped]) -> str:
    suffixes = Counter(one.path.suffix.lower() or "without suffix" for one in skipped).most_common(5)
    kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in suffixes)
    reasons = Counter(one.reason for one in skipped).most_common(3)
    examples = {one.reason: one.path for one in reversed(skipped)}
    listed = "; ".join(f"{examples[reason]}: {reason}" for reason, _ in reasons)
    files = "file that is no image" if len(skipped) == 1 else "files that are no images"
    return f"{folder}: skipped {len(skipped):,} {files} of a class ({kinds}), such as {listed}"


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(map(_on_one_line, classes[:5])) + (f", ... ({len(classes)} in all)" if len(classes) > 5 else "")
    return f"the class{'es' if len(classes) > 1 else ''} {shown}"


def shown(folder: Path) -> str:
    """What lies in a folder, for a message."""
    names = sorted(path.name for path in folder.iterdir() if _belongs(path.name)) if folder.is_dir() else []
    names = list(map(_on_one_line, names))
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"


def _on_one_line(name: str) -> str:
    return name.replace("\n", r"\n")
