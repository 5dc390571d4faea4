"""The file of a fitted classifier: safetensors, whose metadata say what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from imprint_sweep.errors import ImprinterError
from imprint_sweep.files.replacing import replacing
from imprint_sweep.files.unreadable import unreadable
from imprint_sweep.grid.hashing import canonical_json

FORMAT = "imprint_sweep.Imprinter"
VERSION = 1
"""Raised when older versions could misread a file."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class HeadFile:
    """What a file holds.

    Args:
        arrays: by name.
        about: everything else, as JSON has it.
    """

    arrays: Arrays
    about: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write the file; it appears whole or not at all.

        Raises:
            ImprinterError: something is no JSON, or the place cannot be written.
        """
        arrays = {name: np.ascontiguousarray(array) for name, array in self.arrays.items()}
        try:
            about = canonical_json(self.about)
        except (TypeError, ValueError) as error:
            raise ImprinterError(f"cannot save to {path}: a parameter or provenance is no JSON ({error})") from error
        if not path.parent.is_dir():
            raise ImprinterError(f"cannot save to {path}: there is no folder {path.parent}")
        metadata = {
            "format": FORMAT,
            "format_version": str(VERSION),
            "about": about,
            "checksum": _checksum(arrays, about),
        }
        try:
            with replacing(path) as file:
                file.write(save(arrays, metadata))
        except (OSError, ValueError) as error:  # the latter for names that no file can have
            raise ImprinterError(f"cannot save to {path}: {getattr(error, 'strerror', None) or error}") from error

    @classmethod
    def read(cls, path: Path) -> HeadFile:
        """Read and verify a file.

        Raises:
            ImprinterError: there is none, it is damaged, or it is another kind of file.
        """
        try:
            path.open("rb").close()  # safetensors says less of what cannot be opened
            with safe_open(path, "numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ImprinterError(f"{path} is a safetensors file, but none that Imprinter.save wrote")
                if metadata.get("format_version") != str(VERSION):
                    raise ImprinterError(
                        f"{path} has format version {metadata.get('format_version')}, this version of imprint_sweep "
                        f"reads {VERSION}; update imprint_sweep, or save the classifier again"
                    )
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        except (OSError, SafetensorError, ValueError, TypeError) as error:
            if isinstance(error, ImprinterError):
                raise
            raise ImprinterError(f"cannot load {path}: {unreadable(path, error)}") from error
        about = metadata.get("about", "")
        if metadata.get("checksum") != _checksum(arrays, about):
            raise ImprinterError(f"{path} is damaged: its content does not match its checksum; save the head again")
        return cls(arrays, json.loads(about))


def _checksum(arrays: Arrays, about: str) -> str:
    state = blake2b(about.encode(), digest_size=16)
    for name in sorted(arrays):
        state.update(f"\n{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode())
        state.update(np.ascontiguousarray(arrays[name]).data)
    return state.hexdigest()
