"""The idx format of MNIST and its relatives, gzipped or not."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets.files import content, damaged

_UINT8 = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes.

    The format: two zero bytes, the element type, the number of dimensions, each dimension as big-endian uint32, then
    the elements.

    Args:
        path: the file, gzipped or not.

    Returns:
        uint8 array, read-only.

    Raises:
        DatasetError: damaged, truncated, or no idx file of bytes.
    """
    try:
        values = content(path)
        zero, kind, n_dimensions = struct.unpack_from(">HBB", values)
        if zero != 0 or kind != _UINT8:
            raise ValueError(f"it starts with {values[:4].hex()}, an idx file of bytes with 000008")
        shape = struct.unpack_from(f">{n_dimensions}I", values, 4)
    except (OSError, EOFError, zlib.error, struct.error, ValueError) as error:
        raise damaged(path, error) from error
    offset = 4 + 4 * n_dimensions
    if len(values) - offset != math.prod(shape):
        raise DatasetError(
            f"{path} holds {len(values) - offset} values, but announces {' x '.join(map(str, shape))}; "
            "fetch the file again"
        )
    return np.frombuffer(values, np.uint8, offset=offset).reshape(shape)
