"""Datasets by name: images or texts, and labels of a split, in the dataset's own order.

Readers import what they need when they run, so that looking at the registry costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError, did_you_mean
from imprint_sweep.extraction.datasets import (
    cifar10,
    digits,
    image_folder,
    imagenet,
    mnist,
    mnist_m,
    orange_texts,
    svhn,
    text_table,
    usps,
)
from imprint_sweep.extraction.datasets.files import PublishedFiles
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages
from imprint_sweep.extraction.datasets.labelled_texts import LabelledTexts
from imprint_sweep.extraction.datasets.text_table import USUAL_COLUMNS, Columns
from imprint_sweep.grid.cell import check_name
from imprint_sweep.telling import note

__all__ = [
    "DATASETS",
    "USUAL_COLUMNS",
    "Columns",
    "LabelledImages",
    "LabelledTexts",
    "check_splits",
    "place_of",
    "read_samples",
    "read_split",
]

DATASETS: dict[str, Callable[[Split, Path], LabelledImages]] = {
    "digits": digits.read,
    "mnist": mnist.MNIST.read,
    "fashion_mnist": mnist.FASHION_MNIST.read,
    "cifar10": cifar10.read,
    "mnist_m": mnist_m.read,
    "svhn": svhn.read,
    "usps": usps.read,
}
"""Reader of each dataset of images: (split, data root) -> :class:`LabelledImages`."""

TEXTS: dict[str, Callable[[Split, Path], LabelledTexts]] = {
    "newsgroups": orange_texts.NEWSGROUPS.read,
    "reuters_r8": orange_texts.REUTERS_R8.read,
}
"""Reader of each dataset of texts: (split, data root) -> :class:`LabelledTexts`."""

FILES: dict[str, PublishedFiles] = {
    "mnist": mnist.MNIST.files,
    "fashion_mnist": mnist.FASHION_MNIST.files,
    "cifar10": cifar10.FILES,
    "mnist_m": mnist_m.FILES,
    "svhn": svhn.FILES,
    "usps": usps.FILES,
    "newsgroups": orange_texts.NEWSGROUPS.files,
    "reuters_r8": orange_texts.REUTERS_R8.files,
}
"""Files of those datasets that have some."""

IMAGENET = "imagenet"
"""Its reader takes the classes as well: most users want few of a thousand."""


def read_samples(
    dataset: str,
    split: Split,
    data_root: Path,
    classes: Collection[int] | None = None,
    columns: Columns = USUAL_COLUMNS,
) -> LabelledImages | LabelledTexts:
    """Read one split of a dataset.

    Args:
        dataset: a name of :data:`DATASETS` or :data:`TEXTS`, ``"imagenet"``, a folder of images by class or a table of
            texts under the data root.
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets, and into which missing ones are downloaded.
        classes: those that are wanted. Where reading others costs much they are left out, elsewhere they come along.
        columns: of a table of texts.

    Raises:
        InvalidCellError: the name cannot be shown.
        DatasetError: there is no such dataset, its files are missing and cannot be downloaded, or they are damaged.
    """
    check_name("dataset", dataset)
    if dataset in DATASETS or dataset in TEXTS:
        if split == "train" and (data_root / dataset / "train").is_dir():
            note(
                f"{dataset} is a dataset of its own, so the folder {data_root / dataset / 'train'} is not read; "
                "give it another name to use its images"
            )
        return TEXTS[dataset](split, data_root) if dataset in TEXTS else DATASETS[dataset](split, data_root)
    if dataset == IMAGENET:
        return imagenet.read(split, data_root, classes)
    if _is_folder(dataset, data_root):
        return image_folder.read(dataset, split, data_root)
    if text_table.exists(dataset, data_root):
        return text_table.read(dataset, split, data_root, columns)
    folder = data_root / dataset
    held = f" ({folder} has {image_folder.shown(folder)})" if folder.is_dir() else ""
    table = " or ".join(f"{dataset}{suffix}" for suffix in text_table.SUFFIXES)
    raise DatasetError(
        f"there is no dataset {dataset!r}, and no folder {folder / 'train'} of images by class{held}, nor a table of "
        f"texts {table} in {data_root}{did_you_mean(dataset, [*DATASETS, *TEXTS, IMAGENET])}"
    )


def read_split(dataset: str, split: Split, data_root: Path, classes: Collection[int] | None = None) -> LabelledImages:
    """Read one split of a dataset of images. Arguments and errors: see :func:`read_samples`.

    Raises:
        DatasetError: it has texts.
    """
    samples = read_samples(dataset, split, data_root, classes)
    if isinstance(samples, LabelledTexts):
        raise DatasetError(f"{dataset} has texts, and images are needed here; choose a task of images")
    return samples


def check_splits(dataset: str, data_root: Path) -> None:
    """Find out before a split is embedded whether both are there. Arguments: see :func:`read_split`.

    Raises:
        DatasetError: files are missing and cannot be downloaded, or a class of a folder has no images.
    """
    if dataset in FILES:
        for split in ("train", "test"):
            FILES[dataset].fetch(split, data_root)
    elif _is_folder(dataset, data_root):
        image_folder.check(dataset, data_root)


def place_of(dataset: str, split: Split, data_root: Path) -> Path | None:
    """The folder or table that a split would be read from; None if it is nowhere, or not in a place of its own."""
    if dataset in FILES:
        found = FILES[dataset].find(split, data_root)
        return None if found is None else found[0].parent
    if _is_folder(dataset, data_root):
        return data_root / dataset / split
    known = dataset in DATASETS or dataset == IMAGENET
    return None if known else text_table.place_of(dataset, split, data_root)


def _is_folder(dataset: str, data_root: Path) -> bool:
    known = dataset in DATASETS or dataset in TEXTS or dataset == IMAGENET
    return not known and (data_root / dataset / "train").is_dir()
