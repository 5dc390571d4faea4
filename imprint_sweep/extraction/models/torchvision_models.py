"""The paper's four foundation models: torchvision's networks with their ImageNet-1K weights (section 4, Table A.1)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from imprint_sweep.errors import ConfigError, one_line
from imprint_sweep.grid.cell import Model

if TYPE_CHECKING:
    from imprint_sweep.extraction.models.foundation_model import FoundationModel

HEADS = {"resnet18": "fc", "resnet50": "fc", "vit_b_16": "heads", "swin_b": "head"}
"""The attribute of each network that the identity replaces."""

DIMS = {"resnet18": 512, "resnet50": 2048, "vit_b_16": 768, "swin_b": 1024}


def build(model: Model, weights_path: Path | None) -> FoundationModel:
    """Build one of :data:`HEADS`, with the transform of its weights.

    Args:
        model: ``weights`` names torchvision's weights, whose transform is used also with ``weights_path``;
            ``image_size`` None means theirs. Another size is cropped from a resized image in the same proportion.
        weights_path: a state dict to load instead of torchvision's.

    Raises:
        ConfigError: the weights can neither be found nor downloaded or do not fit; the network takes no other size.
    """
    import torch

    from imprint_sweep.extraction.models.foundation_model import FoundationModel, check_weights, load_weights
    from imprint_sweep.extraction.torchvision_operators import torchvision
    from imprint_sweep.extraction.transforms import Transform

    known: Any = torchvision.models.get_model_weights(model.name)
    if weights_path is None:
        # Without DEFAULT, a second name for one of them that may mean others in the next version of torchvision.
        check_weights(model, [one.name for one in known])
    weights = known.__members__.get(model.weights, known.IMAGENET1K_V1)
    preset = weights.transforms()
    (native,), (resize,) = preset.crop_size, preset.resize_size
    size = model.image_size or native
    if model.name == "vit_b_16" and size != native:
        raise ConfigError(f"vit_b_16 takes images of {native} pixels only, not model.image_size={size}")

    path = weights_path or _download(model.name, weights.url)
    sized = {"image_size": native} if model.name == "vit_b_16" else {}
    module = torchvision.models.get_model(model.name, weights=None, **sized)
    load_weights(module, path, [HEADS[model.name]])
    setattr(module, HEADS[model.name], torch.nn.Identity())
    return FoundationModel(
        module=module.eval(),
        transform=Transform(
            resize=round(resize * size / native),
            crop=size,
            interpolation=preset.interpolation.value,
            mean=tuple(preset.mean),
            std=tuple(preset.std),
        ),
        dim=DIMS[model.name],
        source=str(weights_path or weights.url),
        packages=("torch", "torchvision"),
    )


def _download(name: str, url: str) -> Path:
    """The file of the weights in torch's cache, fetched if it is not there."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.is_file():
        try:
            torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True)
        except Exception as error:  # a connection that breaks off can raise anything
            raise ConfigError(
                f"the weights of {name} are not in {path.parent} and cannot be downloaded ({one_line(error)}); "
                f"fetch {url} there, or name the file with model.weights_path"
            ) from error
    return path
