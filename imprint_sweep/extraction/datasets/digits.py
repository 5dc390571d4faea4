"""Scikit-learn's bundled digits: 1,797 grey images of 8 x 8, nothing to download."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages

TEST_SHARE = 0.3


def read(split: Split, data_root: Path) -> LabelledImages:
    """Read one split: a fixed stratified 70/30 division, each part in the dataset's order.

    The file's grey values 0..16 are stretched to 0..255.

    Args:
        split: ``"train"`` (1,257 images) or ``"test"`` (540).
        data_root: not used.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=0, stratify=labels)
    rows = np.sort(train if split == "train" else test)
    images = np.rint(bunch.images[rows] * (255 / 16)).astype(np.uint8)
    return LabelledImages(images, labels[rows], "scikit-learn load_digits")
