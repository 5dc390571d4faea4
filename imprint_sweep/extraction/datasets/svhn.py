"""SVHN: RGB house numbers of 32 x 32 in MATLAB files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.extraction.datasets.files import PublishedFiles, content, damaged
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages, digits_of

SOURCE = "http://ufldl.stanford.edu/housenumbers/"


def _download(folder: Path, split: Split) -> None:
    from imprint_sweep.extraction.torchvision_operators import torchvision

    torchvision.datasets.SVHN(folder / "svhn", split=split, download=True)


FILES = PublishedFiles(
    dataset="SVHN",
    folders=("svhn", "SVHN", "."),
    names={"train": ["train_32x32.mat"], "test": ["test_32x32.mat"]},
    download=_download,
    source=SOURCE,
    published=("train_32x32.mat", "test_32x32.mat"),
)


def read(split: Split, data_root: Path) -> LabelledImages:
    """Read one split from ``{train,test}_32x32.mat``, downloading it if it is not under the data root.

    Labels are the digits shown: the file's 10 stands for 0.

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the file is missing and cannot be downloaded, or it is damaged.
    """
    from scipy.io import loadmat

    (path,) = FILES.fetch(split, data_root)
    try:
        file: Any = BytesIO(content(path))
        arrays = loadmat(file)
        images, labels = arrays["X"].transpose(3, 0, 1, 2), arrays["y"].reshape(-1)
        if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
            raise ValueError(f"its X is {arrays['X'].shape} of {arrays['X'].dtype}, expected (32, 32, 3, n) of uint8")
    except Exception as error:  # a damaged file can raise anything
        raise damaged(path, error) from error
    labels = np.where(labels == 10, 0, labels)
    return LabelledImages(np.ascontiguousarray(images), digits_of(labels, str(path)), str(path))
