"""SVHN: RGB house numbers of 32 x 32 in MATLAB files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imprint_sweep.errors import DatasetError
from imprint_sweep.foundation.datasets.files import find_or_download
from imprint_sweep.foundation.datasets.split import Split, digits_of

SOURCE = "http://ufldl.stanford.edu/housenumbers/"
_NAMES = ("train_32x32.mat", "test_32x32.mat")


def read(split: str, data_root: Path) -> Split:
    """Read one split from ``{train,test}_32x32.mat``, downloading it if it is not under the data root.

    Labels are the digits shown: the file's 10 stands for 0.

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the file is missing and cannot be downloaded, or it is damaged.
    """
    from scipy.io import loadmat

    def download() -> None:
        from imprint_sweep.foundation.torchvision_operators import torchvision

        torchvision.datasets.SVHN(data_root / "svhn", split=split, download=True)

    folders = ("svhn", "SVHN", ".")
    (path,) = find_or_download("SVHN", data_root, folders, [f"{split}_32x32.mat"], download, SOURCE, published=_NAMES)
    try:
        content = loadmat(path)
        images, labels = content["X"].transpose(3, 0, 1, 2), content["y"].reshape(-1)
        if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            raise ValueError(f"its X is {content['X'].shape} of {content['X'].dtype}, expected (32, 32, 3, n) of uint8")
    except Exception as error:  # a damaged file can raise anything
        raise DatasetError(f"cannot read {path}: {type(error).__name__}: {error}; fetch the file again") from error
    labels = np.where(labels == 10, 0, labels)
    return Split(np.ascontiguousarray(images), digits_of(labels, str(path)), str(path))
