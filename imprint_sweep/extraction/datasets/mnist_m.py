"""MNIST-M: the digits of MNIST blended over photographs, RGB, 28 x 28, in files of torch."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.extraction.datasets.files import PublishedFiles, content, damaged
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages, digits_of

FILES = PublishedFiles(
    dataset="MNIST-M",
    folders=("mnist_m", "MNIST-M", "MNISTM", "MNIST-M/processed", "MNISTM/processed", "."),
    names={"train": ["mnist_m_train.pt"], "test": ["mnist_m_test.pt"]},
    published=("mnist_m_train.pt", "mnist_m_test.pt"),
)


def read(split: Split, data_root: Path) -> LabelledImages:
    """Read one split from ``mnist_m_train.pt`` or ``mnist_m_test.pt``: (images uint8 n x 28 x 28 x 3, labels).

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    import torch

    (path,) = FILES.fetch(split, data_root)
    try:
        images, labels = torch.load(BytesIO(content(path)), map_location="cpu", weights_only=True)
        images, labels = torch.as_tensor(images), torch.as_tensor(labels).reshape(-1)
        if images.shape[1:] != (28, 28, 3) or images.dtype != torch.uint8:
            raise ValueError(f"images are {tuple(images.shape)} of {images.dtype}, expected (n, 28, 28, 3) of uint8")
    except Exception as error:  # a damaged file can raise anything
        raise damaged(path, error, "tensors") from error
    return LabelledImages(images.numpy(), digits_of(labels.numpy(), str(path)), str(path))
