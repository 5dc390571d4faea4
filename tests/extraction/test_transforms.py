"""Transforms against Pillow and torchvision, which apply them one image at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from imprint_sweep.extraction.torchvision_operators import torchvision
from imprint_sweep.extraction.transforms import Pixels, Transform

published = torchvision.transforms

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def images(*shape: int) -> NDArray[np.uint8]:
    """Smooth random images: noise is no photograph, and exaggerates rounding."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (shape[0], shape[3] if len(shape) == 4 else 1, 5, 5)))
    fine = torch.nn.functional.interpolate(coarse, shape[1:3], mode="bilinear")
    array = fine.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return array if len(shape) == 4 else array[..., 0]


def one_by_one(batch: NDArray[np.uint8], transform: Transform) -> torch.Tensor:
    interpolation: Any = getattr(published.InterpolationMode, transform.interpolation.upper())
    pipeline = published.Compose(
        [
            published.Resize(transform.resize, interpolation=interpolation),
            published.CenterCrop(transform.crop),
            published.ToTensor(),
            published.Normalize(transform.mean, transform.std),
        ]
    )
    return torch.stack([pipeline(Image.fromarray(image).convert("RGB")) for image in batch])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("shape", "resize", "crop"),
    [
        ((3, 8, 8), 112, 112),
        ((3, 28, 28), 64, 56),
        ((3, 32, 32, 3), 64, 56),
        ((2, 60, 41, 3), 32, 28),
        ((2, 41, 60, 3), 33, 28),
        ((2, 41, 60), 41, 30),
    ],
)
def test_a_batch_is_transformed_as_torchvision_transforms_each(
    shape: tuple[int, ...], resize: int, crop: int, interpolation: str
) -> None:
    transform = Transform(resize, crop, interpolation, MEAN, STD)
    batch = images(*shape)
    found, expected = transform(batch), one_by_one(batch, transform)
    assert found.shape == expected.shape == (len(batch), 3, crop, crop)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    # Up to one grey level.
    assert (found - expected).abs().max() <= 1.01 / 255 / min(STD)
    assert (found - expected).abs().mean() <= 0.1 / 255 / min(STD)


def test_without_resizing_the_result_is_exact() -> None:
    transform = Transform(12, 8, "bilinear", MEAN, STD)
    batch = images(4, 12, 12, 3)
    torch.testing.assert_close(transform(batch), one_by_one(batch, transform), rtol=0, atol=1e-6)


def test_a_grey_image_is_transformed_as_three_equal_channels() -> None:
    transform = Transform(16, 14, "bicubic", MEAN, STD)
    grey = images(4, 9, 9)
    rgb = np.repeat(grey[..., None], 3, axis=3)
    torch.testing.assert_close(transform(grey), transform(rgb), rtol=0, atol=1e-6)


def test_images_are_not_changed() -> None:
    batch = images(2, 8, 8)
    before = batch.copy()
    batch.setflags(write=False)
    Transform(8, 8, "bilinear", MEAN, STD)(batch).zero_()
    np.testing.assert_array_equal(batch, before)


def test_the_description_tells_everything() -> None:
    assert str(Transform(256, 224, "bilinear", MEAN, STD)) == (
        "shorter side to 256 (bilinear, antialiased), centre crop 224, minus (0.485, 0.456, 0.406), "
        "divided by (0.229, 0.224, 0.225); grey images in three equal channels"
    )


@pytest.mark.parametrize(("shape", "columns"), [((3, 4, 5), 20), ((3, 4, 5, 3), 60)])
def test_pixels_are_the_image_in_reading_order(shape: tuple[int, ...], columns: int) -> None:
    batch = images(*shape)
    found = Pixels(None)(batch).flatten(1)
    assert found.shape == (3, columns)
    np.testing.assert_allclose(found.numpy(), batch.reshape(3, -1) / 255, rtol=1e-6)


def test_pixels_may_be_resized_which_makes_grey_and_colour_equally_long() -> None:
    grey, colour = images(2, 4, 5), images(2, 6, 5, 3)
    assert Pixels(7)(colour).shape == Pixels(7)(grey).shape == (2, 7, 7, 3)
    torch.testing.assert_close(Pixels(7)(grey), Pixels(7)(grey[..., None].repeat(3, axis=3)))
