"""Images in files of their own, or packed in archives, decoded when they are asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imprint_sweep.errors import DatasetError, one_line
from imprint_sweep.files.unreadable import stand_in

_GREY = ("1", "L")
_DEEP = ("I;16", "I;16L", "I;16B")
_UNBOUNDED = ("I", "F")
_USUAL = ("JPEG", "MPO", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")


class ImageFile(NamedTuple):
    """Where an encoded image is.

    Args:
        path: the file, or the archive that holds it.
        name: its name in the archive, for messages; empty for a file of its own.
        offset: its first byte.
        size: its bytes; -1 means to the end of the file.
    """

    path: Path
    name: str = ""
    offset: int = 0
    size: int = -1


class ImageFiles(Sequence[NDArray[np.uint8]]):
    """Images that are decoded when they are indexed: (h, w) uint8 if the file is grey, else (h, w, 3).

    Args:
        files: where they are.
    """

    def __init__(self, files: Sequence[ImageFile]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        file = self.files[index]
        try:
            with file.path.open("rb") as opened:
                opened.seek(file.offset)
                content = opened.read(file.size)
            with Image.open(io.BytesIO(content)) as image:
                return _decoded(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            where = f"{file.path} ({file.name})" if file.name else file.path
            raise DatasetError(f"cannot read the image {where}: {_reason(file.path, error)}") from error


def why_no_image(path: Path) -> str | None:
    """Why Pillow cannot open a file, a part of a sentence; None if it can.

    Of the usual formats the header is read. Others are decoded: some Pillow recognises and cannot decode (videos,
    vector graphics, scientific data).
    """
    try:
        with Image.open(path) as image:
            if image.format not in _USUAL:
                image.load()
    except Exception as error:  # files that only look like images can raise anything
        return _reason(path, error)
    return None


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "it is a link to a file that is not there" if path.is_symlink() else "no such file"
    if isinstance(error, UnidentifiedImageError):
        claimed = Image.registered_extensions().get(path.suffix.lower())
        found = stand_in(path) if claimed in Image.OPEN else None
        return "it is none that Pillow knows" + (f": {found}" if found else "")
    return one_line(error)


def _decoded(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode in _DEEP:  # Pillow would cut off at 255 instead of scaling
        return np.round(np.asarray(image) / 257).astype(np.uint8)
    if image.mode in _UNBOUNDED:
        raise ValueError("nothing says which of its values are black and white; save it with 8 or 16 bits a pixel")
    return np.asarray(image.convert("L" if image.mode in _GREY else "RGB"))
