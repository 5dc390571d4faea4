"""Contact sheets: where the images are, and that they are those."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from imprint_sweep.extraction.contact_sheet import GAP, TILE, contact_sheet

RNG = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return RNG.integers(0, 255, shape, np.uint8)  # never white, as the paper is


def test_images_stand_in_rows_after_their_labels() -> None:
    grey, colour = noise(28, 28), noise(28, 28, 3)
    sheet = np.asarray(contact_sheet([("one", [grey, grey]), ("a longer label", [colour])]))
    height, width = sheet.shape[:2]
    assert height == GAP + 2 * (TILE + GAP)
    labels = width - 2 * (TILE + GAP)
    top, factor = GAP + TILE + GAP, TILE // 28
    first = sheet[GAP : GAP + TILE, labels : labels + TILE]
    np.testing.assert_array_equal(
        first, np.kron(grey, np.ones((factor, factor), np.uint8))[..., None].repeat(3, axis=2)
    )
    second_row = sheet[top : top + TILE : factor, labels : labels + TILE : factor]
    np.testing.assert_array_equal(second_row, colour)
    # Labels are drawn and do not run into the images; nothing else is.
    for start in (GAP, top):
        assert sheet[start : start + TILE, :labels].min() == 0
        assert sheet[start : start + TILE, labels - GAP : labels].min() == 255
    assert sheet[top : top + TILE, labels + TILE :].min() == 255
    assert sheet[:GAP].min() == 255


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((8, 8), (112, 112)),
        ((16, 8, 3), (112, 56)),
        ((32, 32), (96, 96)),
        ((500, 250, 3), (112, 56)),
        ((1, 900), (1, 112)),
    ],
)
def test_images_of_any_size_fit_into_a_tile_and_keep_their_proportions(
    shape: tuple[int, ...], drawn: tuple[int, int]
) -> None:
    sheet = np.asarray(contact_sheet([("", [np.zeros(shape, np.uint8)])]))
    dark = np.argwhere((sheet < 255).any(axis=2))
    assert tuple(np.ptp(dark, axis=0) + 1) == drawn
    # In the middle of the tile.
    centre = GAP + TILE / 2
    assert abs(dark[:, 0].min() + drawn[0] / 2 - centre) <= 0.5


def test_images_are_not_changed() -> None:
    image = noise(500, 400, 3)
    before = image.copy()
    contact_sheet([("", [image])])
    np.testing.assert_array_equal(image, before)
    assert isinstance(contact_sheet([("", [])]), Image.Image)
