"""What the reader of a dataset of texts returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import DatasetError


@dataclass(frozen=True, eq=False)
class LabelledTexts:
    """Texts and labels of one split, in the dataset's own order.

    Args:
        texts: n texts.
        labels: (n,) int64.
        source: where they were read, for the metadata of the embeddings.
        names: the name of each class, where classes have names and not only numbers.
        complete: whether these are all samples of the split; no reader of texts leaves any out.

    Raises:
        DatasetError: no texts, or not one label for each.
    """

    texts: Sequence[str]
    labels: NDArray[np.int64]
    source: str
    names: Mapping[int, str] = field(default_factory=dict)
    complete: bool = True

    def __post_init__(self) -> None:
        if len(self.texts) == 0 or self.labels.shape != (len(self.texts),):
            raise DatasetError(f"{self.source}: {len(self.texts)} texts and labels of shape {self.labels.shape}")
