"""A picture of sample images in labelled rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TILE = 112
"""Side of the square that an image is fitted into, pixels."""
GAP = 8
"""Around every tile, pixels."""
_FONT_SIZE = 20


def contact_sheet(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> Image.Image:
    """Draw rows of images, each after its label.

    Args:
        rows: label, and images (h, w) or (h, w, 3) uint8 of any sizes; at least one row.

    Returns:
        An RGB picture, white where nothing is. Small images are enlarged by whole factors, so that their pixels show.
    """
    font = ImageFont.load_default(_FONT_SIZE)
    labels = 2 * GAP + max(round(font.getlength(label)) for label, _ in rows)
    width = labels + max(len(images) for _, images in rows) * (TILE + GAP)
    sheet = Image.new("RGB", (width, GAP + len(rows) * (TILE + GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (label, images) in enumerate(rows):
        top = GAP + row * (TILE + GAP)
        draw.text((GAP, top + TILE // 2), label, "black", font, anchor="lm")
        for column, image in enumerate(images):
            tile = _fitted(Image.fromarray(image).convert("RGB"))
            left = labels + column * (TILE + GAP)
            sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
    return sheet


def _fitted(image: Image.Image) -> Image.Image:
    longer = max(image.size)
    if longer > TILE:
        width, height = (max(1, round(side * TILE / longer)) for side in image.size)
        return image.resize((width, height), Image.Resampling.LANCZOS)
    factor = TILE // longer
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)
