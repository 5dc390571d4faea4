"""The files of a published dataset: where they are, or how to fetch them."""

from __future__ import annotations

import bz2
import gzip
import secrets
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError, one_line
from imprint_sweep.files.locking import exclusive
from imprint_sweep.files.unreadable import unreadable
from imprint_sweep.telling import note

_COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {b"\x1f\x8b": gzip.decompress, b"BZh": bz2.decompress}


@dataclass(frozen=True)
class PublishedFiles:
    """The files of a dataset, which lie together in one folder, compressed or not.

    Args:
        dataset: its name, for messages.
        folders: where to look under the data root, in this order.
        names: the files of each split.
        download: downloads a split into a folder, and may put it into one of ``folders`` below it; None if the dataset
            is not published as files.
        source: the address that it fetches, for the message.
        archives: files by hand that save it the download, if they lie in one of ``folders`` or in the data root.
        shared: where to look besides.
        respelled: another spelling of a name under which files are passed on.
        published: the files of both splits as they are published, for the message; those of the split by default.
    """

    dataset: str
    folders: Sequence[str]
    names: Mapping[str, Sequence[str]]
    download: Callable[[Path, Split], object] | None = None
    source: str | None = None
    archives: Sequence[str] = ()
    shared: Sequence[Path] = ()
    respelled: Callable[[str], str] = lambda name: name
    published: Sequence[str] = ()

    def find(self, split: Split, data_root: Path) -> list[Path] | None:
        """The files of a split in the first folder that has them all; None if no folder has.

        Args:
            split: ``"train"`` or ``"test"``.
            data_root: the folder in which the user keeps datasets.
        """
        for folder in [*(data_root / name for name in self.folders), *self.shared]:
            found = [next(filter(Path.is_file, self._places(folder, name)), None) for name in self.names[split]]
            whole = [path for path in found if path is not None]
            if len(whole) == len(found):
                return whole
        return None

    def fetch(self, split: Split, data_root: Path) -> list[Path]:
        """The files of a split, downloaded into the data root if they are nowhere. Arguments: see :meth:`find`.

        One process downloads at a time, into a folder beside; files appear under their names when they are whole.

        Raises:
            DatasetError: the files are nowhere and cannot be downloaded; the message says which to fetch and where to
                put them.
        """
        found = self.find(split, data_root)
        reason = "is not published as files to download"
        if found is None and self.download is not None:
            try:
                self._download(split, data_root)
            except Exception as error:  # a connection that breaks off can raise anything
                reason = f"cannot be downloaded ({one_line(error)})"
            found = self.find(split, data_root)
        if found is None:
            names = ", ".join(self.published or self.names[split])
            of = "" if self.source is None else f" of {self.source}"
            where = (data_root / self.folders[0]).resolve()
            raise DatasetError(f"{self.dataset} is not under {data_root} and {reason}; put {names}{of} into {where}")
        return found

    def _places(self, folder: Path, name: str) -> Iterable[Path]:
        for spelling in dict.fromkeys((name, self.respelled(name))):
            # Some archives hold each file in a folder of its own name.
            yield from (folder / spelling, folder / f"{spelling}.gz", folder / spelling / spelling)

    def _download(self, split: Split, data_root: Path) -> None:
        assert self.download is not None
        data_root.mkdir(parents=True, exist_ok=True)
        name = f".{self.dataset}.download"
        waiting = partial(note, f"waiting for another process, which downloads {self.dataset}")
        with exclusive(data_root / f"{name}.lock", waiting) as alone:
            if self.find(split, data_root) is not None:
                return
            if alone:  # what others began, who were killed
                for left in data_root.glob(f"{name}-*"):
                    shutil.rmtree(left, ignore_errors=True)
            beside = data_root / f"{name}-{secrets.token_hex(8)}"
            beside.mkdir()
            try:
                for archive in self._archives(data_root):
                    (beside / archive.name).symlink_to(archive.resolve())
                self.download(beside, split)
                for path in sorted(beside.rglob("*")):
                    if path.is_file() and not path.is_symlink():
                        target = data_root / path.relative_to(beside)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        path.replace(target)
            finally:
                shutil.rmtree(beside, ignore_errors=True)

    def _archives(self, data_root: Path) -> list[Path]:
        """The archives that were fetched by hand."""
        places = [[data_root / folder / name for folder in (".", *self.folders)] for name in self.archives]
        found = [next(filter(Path.is_file, paths), None) for paths in places]
        return [path for path in found if path is not None]


def content(path: Path) -> bytes:
    """What a file holds, decompressed if it is compressed with gzip or bzip2, whatever its name says.

    Raises:
        OSError, EOFError, zlib.error: the file cannot be read, is empty, or what is compressed is damaged.
    """
    raw = path.read_bytes()
    if not raw:
        raise EOFError
    for start, decompress in _COMPRESSIONS.items():
        if raw.startswith(start):
            return decompress(raw)
    return raw


def damaged(path: Path, error: Exception, objects: str = "numbers", member: str = "") -> DatasetError:
    """The error of a file that cannot be read.

    Args:
        path: the file.
        error: what its reader raised.
        objects: what it should hold where it holds other objects.
        member: the part of it that cannot be read.
    """
    reason = unreadable(path, error, objects=objects, mend="fetch the file again")
    return DatasetError(f"cannot read {f'{member} in ' if member else ''}{path}: {reason}")
