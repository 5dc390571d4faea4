"""MNIST-M: the digits of MNIST blended over photographs, RGB, 28 x 28, in files of torch."""

from __future__ import annotations

import pickle
from pathlib import Path

from imprint_sweep.errors import DatasetError
from imprint_sweep.foundation.datasets.files import find_or_download
from imprint_sweep.foundation.datasets.split import Split, digits_of

_NAMES = ("mnist_m_train.pt", "mnist_m_test.pt")


def read(split: str, data_root: Path) -> Split:
    """Read one split from ``mnist_m_train.pt`` or ``mnist_m_test.pt``: (images uint8 n x 28 x 28 x 3, labels).

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    import torch

    folders = ("mnist_m", "MNIST-M", "MNISTM", "MNIST-M/processed", "MNISTM/processed", ".")
    (path,) = find_or_download("MNIST-M", data_root, folders, [f"mnist_m_{split}.pt"], published=_NAMES)
    try:
        images, labels = torch.load(path, map_location="cpu", weights_only=True)
        images, labels = torch.as_tensor(images), torch.as_tensor(labels).reshape(-1)
        if images.shape[1:] != (28, 28, 3) or images.dtype != torch.uint8:
            raise ValueError(f"images are {tuple(images.shape)} of {images.dtype}, expected (n, 28, 28, 3) of uint8")
    except pickle.UnpicklingError as error:  # torch gives a page of advice
        raise DatasetError(f"cannot read {path}: it is damaged, or holds other objects than tensors") from error
    except Exception as error:  # a damaged file can raise anything
        raise DatasetError(f"cannot read {path}: {type(error).__name__}: {error}; fetch the file again") from error
    return Split(images.numpy(), digits_of(labels.numpy(), str(path)), str(path))
