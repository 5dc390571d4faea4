"""What a dataset's reader returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import DatasetError


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and labels of one split, in the dataset's own order.

    Args:
        images: n images, uint8: (h, w) if grey, (h, w, 3) if RGB. One array (n, h, w) or (n, h, w, 3) where all have
            one size, else a sequence that decodes an image when it is indexed.
        labels: (n,) int64.
        source: where they were read, for the metadata of the embeddings.
        complete: whether these are all samples of the split, not only those of the classes that were asked for.

    Raises:
        DatasetError: no images, or not one label for each.
    """

    images: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]
    labels: NDArray[np.int64]
    source: str
    complete: bool = True

    def __post_init__(self) -> None:
        if len(self.images) == 0 or self.labels.shape != (len(self.images),):
            raise DatasetError(f"{self.source}: {len(self.images)} images and labels of shape {self.labels.shape}")


def digits_of(labels: NDArray[Any], source: str) -> NDArray[np.int64]:
    """Labels of a dataset of ten classes, checked: a damaged file must not become another class.

    Args:
        labels: (n,) numbers of any kind.
        source: where they were read, for the message.

    Raises:
        DatasetError: one is not among 0, 1, ... 9.
    """
    if wrong := sorted(set(labels[~np.isin(labels, np.arange(10))].tolist())):
        raise DatasetError(f"{source}: expected labels of ten classes, found another one, {wrong[0]}")
    return labels.astype(np.int64)
