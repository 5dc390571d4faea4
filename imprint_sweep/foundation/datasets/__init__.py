"""Datasets by name: images and labels of a split, in the dataset's own order.

Readers import what they need when they run, so that looking at the registry costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from imprint_sweep.cell import check_name
from imprint_sweep.errors import DatasetError, did_you_mean
from imprint_sweep.foundation.datasets import cifar10, digits, image_folder, imagenet, mnist, mnist_m, svhn, usps
from imprint_sweep.foundation.datasets.split import Split

__all__ = ["DATASETS", "Split", "read_split"]

DATASETS: dict[str, Callable[[str, Path], Split]] = {
    "digits": digits.read,
    "mnist": mnist.MNIST.read,
    "fashion_mnist": mnist.FASHION_MNIST.read,
    "cifar10": cifar10.read,
    "mnist_m": mnist_m.read,
    "svhn": svhn.read,
    "usps": usps.read,
}
"""Reader of each dataset: (split, data root) -> :class:`Split`."""


IMAGENET = "imagenet"
"""Its reader takes the classes as well: most users want few of a thousand."""


def read_split(dataset: str, split: str, data_root: Path, classes: Collection[int] | None = None) -> Split:
    """Read one split of a dataset.

    Args:
        dataset: a name of :data:`DATASETS`, ``"imagenet"``, or a folder of images by class under the data root.
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets, and into which missing ones are downloaded.
        classes: those that are wanted. Where reading others costs much they are left out, elsewhere they come along.

    Raises:
        InvalidCellError: the name cannot be shown.
        DatasetError: there is no such dataset, its files are missing and cannot be downloaded, or they are damaged.
    """
    check_name("dataset", dataset)
    if dataset in DATASETS:
        return DATASETS[dataset](split, data_root)
    if dataset == IMAGENET:
        return imagenet.read(split, data_root, classes)
    if (data_root / dataset / "train").is_dir():
        return image_folder.read(dataset, split, data_root)
    raise DatasetError(
        f"there is no dataset {dataset!r}, and no folder {data_root / dataset / 'train'} of images by class"
        f"{did_you_mean(dataset, [*DATASETS, IMAGENET])}"
    )
