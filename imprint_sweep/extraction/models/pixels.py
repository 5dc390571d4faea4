"""No network at all: the pixels as embeddings, a baseline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    from imprint_sweep.extraction.models.foundation_model import FoundationModel


def build(model: Model, weights_path: Path | None) -> FoundationModel:
    """Flatten images, in [0, 1]: row by row, and colours within a pixel last.

    Args:
        model: ``image_size`` None means the images' own size.
        weights_path: not used.

    Raises:
        ConfigError: weights of another name: there are none.
    """
    import torch

    from imprint_sweep.extraction.models.foundation_model import FoundationModel, check_weights
    from imprint_sweep.extraction.transforms import Pixels

    check_weights(model, ["raw"])
    return FoundationModel(torch.nn.Flatten(), Pixels(model.image_size), None, "none", ("torch",))
