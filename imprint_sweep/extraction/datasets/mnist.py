"""MNIST and FashionMNIST: grey images of 28 x 28 in four idx files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets.files import PublishedFiles
from imprint_sweep.extraction.datasets.idx import read_idx
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages, digits_of

_PREFIX = {"train": "train", "test": "t10k"}
_KINDS = ("images-idx3", "labels-idx1")


@dataclass(frozen=True)
class IdxDataset:
    """A dataset published as ``{train,t10k}-{images-idx3,labels-idx1}-ubyte``, gzipped or not.

    Copies are often called ``train-images.idx3-ubyte``.

    Args:
        torchvision_name: torchvision's class that downloads it.
        folders: where to look under the data root.
        source: where its files are published.
        first_labels: the first ten labels of each split. The datasets share file names, so this tells them apart.
        shared: where a system package puts it.
    """

    torchvision_name: str
    folders: tuple[str, ...]
    source: str
    first_labels: Mapping[str, tuple[int, ...]]
    shared: tuple[Path, ...] = ()

    @property
    def files(self) -> PublishedFiles:
        """Its files."""
        names = {split: [f"{prefix}-{kind}-ubyte" for kind in _KINDS] for split, prefix in _PREFIX.items()}
        return PublishedFiles(
            dataset=self.torchvision_name,
            folders=self.folders,
            names=names,
            download=self._download,
            source=self.source,
            shared=self.shared,
            respelled=lambda name: name.replace("-idx", ".idx"),
            published=[f"{name}.gz" for both in names.values() for name in both],
        )

    def read(self, split: Split, data_root: Path) -> LabelledImages:
        """Read one split, downloading the dataset into the data root if it is nowhere to be found.

        Args:
            split: ``"train"`` or ``"test"``.
            data_root: the folder in which the user keeps datasets.

        Raises:
            DatasetError: the files are missing and cannot be downloaded, or they are damaged.
        """

        found = self.files.fetch(split, data_root)
        images, labels = map(read_idx, found)
        if images.ndim != 3 or labels.ndim != 1:
            shapes = f"{images.shape} and {labels.shape}"
            raise DatasetError(f"expected (n, h, w) in {found[0]} and (n,) in {found[1]}, got {shapes}")
        for other in (MNIST, FASHION_MNIST):
            if other is not self and tuple(labels[:10].tolist()) == other.first_labels[split]:
                raise DatasetError(f"{found[1]} is {other.torchvision_name}'s, not {self.torchvision_name}'s")
        source = ", ".join(map(str, found))
        return LabelledImages(images, digits_of(labels, source), source)

    def _download(self, folder: Path, split: Split) -> None:
        from imprint_sweep.extraction.torchvision_operators import torchvision

        getattr(torchvision.datasets, self.torchvision_name)(folder, download=True)


MNIST = IdxDataset(
    torchvision_name="MNIST",
    folders=("MNIST/raw", "mnist", "."),
    source="https://ossci-datasets.s3.amazonaws.com/mnist/",
    first_labels={"train": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "test": (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)},
)
FASHION_MNIST = IdxDataset(
    torchvision_name="FashionMNIST",
    folders=("FashionMNIST/raw", "fashion_mnist", "fashion-mnist", "."),
    source="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    first_labels={"train": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5), "test": (9, 2, 1, 1, 6, 1, 4, 6, 5, 7)},
    shared=(Path("/usr/share/datasets/fashion-mnist"),),
)
