"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY = ".tmp"
"""The suffix of files that are being written."""


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A file beside another that takes its place when the body ends, and leaves nothing behind if it fails.

    Whoever reads `path` meanwhile reads what was there before. The temporary name is this call's own, so what a killed
    process left is in nobody's way.

    Args:
        path: the file; its folder exists.
        durable: wait until the content is on disk, so that a power cut leaves the one or the other.

    Raises:
        OSError: it cannot be written; what was there is still there.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
