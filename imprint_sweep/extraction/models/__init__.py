"""Foundation models by name: frozen networks whose head is the identity.

Builders import what they need when they run, so that looking at the registry costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.extraction.models import efficientnet_lite, minilm, pixels, timm_models, torchvision_models
from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    from imprint_sweep.extraction.models.foundation_model import FoundationModel

__all__ = ["MODELS", "load_model"]

MODELS: dict[str, Callable[[Model, Path | None], FoundationModel]] = {
    **dict.fromkeys(efficientnet_lite.NAMES, efficientnet_lite.build),
    **dict.fromkeys(torchvision_models.HEADS, torchvision_models.build),
    "minilm": minilm.build,
    "pixels": pixels.build,
    "timm": timm_models.build,
}
"""Builder of each model: (model, a state dict to load instead of the model's own) -> :class:`FoundationModel`.

A name with a slash is one of a library's many models: ``timm/<its name there>``.
"""


def load_model(model: Model, weights_path: Path | None = None) -> FoundationModel:
    """Load a frozen foundation model.

    Args:
        model: its name, weights and input size.
        weights_path: a state dict to load instead of the model's own weights.

    Raises:
        UnknownOptionError: there is no such model.
        ConfigError: its weights cannot be loaded; it is one of timm's and not called so.
    """
    name = model.name.partition("/")[0]
    meant_timm = model.weights == timm_models.PRETRAINED and name != "timm"
    if meant_timm and (weights_path is None or name not in MODELS):
        raise ConfigError(f"networks of timm are called timm/<their name there>: model.name=timm/{model.name}")
    if name not in MODELS:
        raise UnknownOptionError("model that computes embeddings", model.name, MODELS)
    return MODELS[name](model, weights_path)
