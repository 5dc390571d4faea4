"""From images to the input of a network, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional


class BatchTransform(Protocol):
    """From images to the input of a network; its ``str`` says all that it does."""

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Transform images of one size, (b, h, w) or (b, h, w, 3) uint8, to (b, ...) float32."""


@dataclass(frozen=True)
class Transform:
    """Resize, centre crop and normalise, as the weights of ImageNet networks want it.

    The same as resizing with Pillow and normalising with torchvision, up to one grey level of rounding, but for a whole
    batch at once, and a grey image is resized in one channel before it becomes three.

    Args:
        resize: the shorter side after resizing, pixels.
        crop: side of the square cut from the centre, pixels, at most ``resize``.
        interpolation: ``"bilinear"`` or ``"bicubic"``, antialiased.
        mean: of each of R, G, B, on the scale of [0, 1].
        std: of each of R, G, B, on the scale of [0, 1].
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.crop > self.resize:
            raise ValueError(f"a square of {self.crop} pixels cannot be cut from {self.resize}")

    def __str__(self) -> str:
        mean, std = (", ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return (
            f"shorter side to {self.resize} ({self.interpolation}, antialiased), centre crop {self.crop}, "
            f"minus ({mean}), divided by ({std}); grey images in three equal channels"
        )

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Transform a batch of images of one size.

        Args:
            images: (b, h, w) or (b, h, w, 3) uint8.

        Returns:
            (b, 3, crop, crop) float32, channels last in memory.
        """
        batch = _channels_first(images)
        height, width = batch.shape[-2:]
        shorter = min(height, width)
        if shorter != self.resize:
            size = (self.resize * height // shorter, self.resize * width // shorter)
            batch = functional.interpolate(batch, size, mode=self.interpolation, antialias=True)
            height, width = size
        # Rounded as torchvision rounds it.
        top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
        batch = batch[..., top : top + self.crop, left : left + self.crop]
        mean, std = (255 * torch.tensor(values).reshape(1, 3, 1, 1) for values in (self.mean, self.std))
        return ((batch - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class OneByOne:
    """A transform of another library, for one image at a time.

    Args:
        transform: from an RGB image of Pillow to (3, h, w) float32.
    """

    transform: Callable[[Image.Image], torch.Tensor]

    def __str__(self) -> str:
        return " ".join(str(self.transform).split())

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Transform images of one size.

        Args:
            images: (b, h, w) or (b, h, w, 3) uint8.

        Returns:
            (b, 3, h', w') float32.
        """
        return torch.stack([self.transform(Image.fromarray(image).convert("RGB")) for image in images])


@dataclass(frozen=True)
class Pixels:
    """The pixels themselves, in [0, 1].

    Args:
        size: side of the square that images are resized to (bilinear, antialiased), grey ones in three equal channels
            so that images of all kinds become equally long; None leaves them as they are.
    """

    size: int | None

    def __str__(self) -> str:
        if self.size is None:
            return "pixels divided by 255, the images' own size"
        return f"pixels divided by 255, {self.size} x {self.size} (bilinear, antialiased), grey in three equal channels"

    def __call__(self, images: NDArray[np.uint8]) -> torch.Tensor:
        """Transform a batch of images of one size.

        Args:
            images: (b, h, w) or (b, h, w, 3) uint8.

        Returns:
            (b, size, size, 3) float32, without a size (b, h, w, 1) or (b, h, w, 3).
        """
        batch = _channels_first(images)
        if self.size is not None:
            batch = functional.interpolate(batch, (self.size, self.size), mode="bilinear", antialias=True)
            batch = batch.expand(-1, 3, -1, -1)
        return batch.permute(0, 2, 3, 1) / 255


def _channels_first(images: NDArray[np.uint8]) -> torch.Tensor:
    # A copy: readers return read-only views, which torch does not take.
    batch = torch.from_numpy(images.copy())
    return batch[:, None] if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
