"""USPS: grey digits of 16 x 16 in bzip2-compressed libsvm files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets.files import PublishedFiles, content, damaged
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages, digits_of

SOURCE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"


def _download(folder: Path, split: Split) -> None:
    from imprint_sweep.extraction.torchvision_operators import torchvision

    torchvision.datasets.USPS(folder / "usps", train=split == "train", download=True)


FILES = PublishedFiles(
    dataset="USPS",
    folders=("usps", "USPS", "."),
    names={"train": ["usps.bz2"], "test": ["usps.t.bz2"]},
    download=_download,
    source=SOURCE,
    respelled=lambda name: name.removesuffix(".bz2"),
    published=("usps.bz2", "usps.t.bz2"),
)


def read(split: Split, data_root: Path) -> LabelledImages:
    """Read one split from ``usps.bz2`` or ``usps.t.bz2``, downloading it if it is not under the data root.

    Labels are the digits shown: the file counts from 1. Values in [-1, 1] become grey levels as torchvision makes them.

    Args:
        split: ``"train"`` or ``"test"``.
        data_root: the folder in which the user keeps datasets.

    Raises:
        DatasetError: the file is missing and cannot be downloaded, or it is damaged.
    """
    from sklearn.datasets import load_svmlight_file

    (path,) = FILES.fetch(split, data_root)
    try:
        values, labels = load_svmlight_file(BytesIO(content(path)), n_features=256, dtype=np.float32, zero_based=False)
    except Exception as error:  # a damaged file can raise anything
        raise damaged(path, error) from error
    if (np.diff(values.indptr) != 256).any() or not (np.abs(values.data) <= 1).all():
        raise DatasetError(f"{path}: expected 256 values in [-1, 1] for each image; fetch the file again")
    grey = ((values.toarray().astype(np.float32) + 1) / 2 * 255).astype(np.uint8)
    return LabelledImages(grey.reshape(-1, 16, 16), digits_of(labels - 1, str(path)), str(path))
