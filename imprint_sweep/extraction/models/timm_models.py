"""Any network of the timm library, with the transform that its own data configuration describes."""

from __future__ import annotations

import math
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprint_sweep.errors import ConfigError, UnknownOptionError, nearest, one_line
from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    from imprint_sweep.extraction.models.foundation_model import FoundationModel
    from imprint_sweep.extraction.transforms import BatchTransform

PRETRAINED = "pretrained"
"""The ``weights`` of a network with what timm has for its name."""


def build(model: Model, weights_path: Path | None) -> FoundationModel:
    """Build a network of timm by its name there, after ``timm/``.

    Args:
        model: ``image_size`` None means what the network's configuration says.
        weights_path: a state dict to load instead of the pretrained one; its head does not matter.

    Raises:
        ConfigError: timm is not installed, has no such model, or its weights cannot be loaded.
    """
    import imprint_sweep.extraction.torchvision_operators  # noqa: F401  # timm imports torchvision
    from imprint_sweep.extraction.models.foundation_model import FoundationModel, check_weights

    try:
        timm: Any = import_module("timm")
    except ImportError as error:
        raise ConfigError(f"{model.name} needs timm, which is not installed; pip install timm") from error
    name = model.name.partition("/")[2]
    published = _published(timm, name)
    if weights_path is None:
        check_weights(model, [PRETRAINED])
    # Networks with position embeddings must be built for their input, the others take any.
    fixed = model.image_size is not None and published is not None and published.fixed_input_size
    sized = {"img_size": model.image_size} if fixed else {}
    try:
        module = timm.create_model(name, pretrained=weights_path is None, **sized)
    except Exception as error:  # the hub that serves the weights has many exceptions
        if weights_path is not None:
            raise ConfigError(f"timm cannot make {name!r}: {one_line(error)}") from error
        hub = getattr(published, "hf_hub_id", None)
        where = f"fetch https://huggingface.co/{hub}/resolve/main/model.safetensors and " if hub else ""
        raise ConfigError(
            f"the weights of timm's {name} are not in its cache and cannot be downloaded ({one_line(error)}); "
            f"{where}name the file with model.weights_path"
        ) from error
    if weights_path is not None:
        module = _with_weights(timm, name, sized, module, weights_path)
    module.reset_classifier(0)
    data = timm.data.resolve_model_data_config(module)
    if model.image_size is not None:
        data["input_size"] = (3, model.image_size, model.image_size)
    return FoundationModel(
        module=module.eval(),
        transform=transform_of(timm, data),
        dim=None,
        source=str(weights_path or f"timm {name}"),
        packages=("torch", "timm"),
    )


def _with_weights(timm: Any, name: str, sized: dict[str, Any], module: Any, path: Path) -> Any:
    """A network with the weights of a file.

    Weights that do not fit as they are may be as their publishers left them, or for images of another size: timm knows
    how to adapt those.

    Raises:
        ConfigError: the file cannot be read, or does not fit either way.
    """
    from imprint_sweep.extraction.models.foundation_model import fit_weights, read_weights, with_head_of

    state = read_weights(module, path)
    heads = (module.pretrained_cfg or {}).get("classifier") or ()
    headed = with_head_of(module, state, [heads] if isinstance(heads, str) else heads)
    try:
        fit_weights(module, headed, path)
    except ConfigError:
        # Publishers call heads by other names than timm, which knows them only as they are.
        for whole in (state, headed):
            with suppress(Exception):  # what does not fit can raise anything; the mismatch is the better message
                return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": whole}, **sized)
        raise
    return module


def transform_of(timm: Any, data: dict[str, Any]) -> BatchTransform:
    """The transform of a data configuration of timm: ours where it is the same, else timm's own, image by image."""
    from imprint_sweep.extraction.transforms import OneByOne, Transform

    _, height, width = data["input_size"]
    plain = data["crop_mode"] == "center" and height == width and data["crop_pct"] <= 1
    if not plain or data["interpolation"] not in ("bilinear", "bicubic"):
        return OneByOne(timm.data.create_transform(**data, is_training=False))
    return Transform(
        resize=math.floor(height / data["crop_pct"]),
        crop=height,
        interpolation=data["interpolation"],
        mean=data["mean"],
        std=data["std"],
    )


def _published(timm: Any, name: str) -> Any:
    """What timm knows of the weights of a name, ``<network>`` or ``<network>.<weights>``; None without weights.

    Raises:
        ConfigError: timm has no such network, or no such weights of it.
    """
    network, _, tag = name.partition(".")
    if not timm.is_model(network):
        # The full list would be a thousand names.
        likely = nearest(network, timm.list_models())
        hint = f"; did you mean {' or '.join(likely)}?" if likely else "."
        raise ConfigError(f"timm has no network {network!r}{hint} timm.list_models() lists those of this version")
    weights = [known.partition(".")[2] for known in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in weights:
        raise UnknownOptionError(f"weights of timm's {network}", tag, weights)
    return timm.get_pretrained_cfg(name)
