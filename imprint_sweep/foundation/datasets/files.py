"""Finding the files of a dataset, or fetching them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from imprint_sweep.errors import DatasetError, one_line


def find(folders: Iterable[Path], names: Sequence[str]) -> list[Path] | None:
    """The files of these names, gzipped or not, in the first folder that has them all; None if no folder has."""
    for folder in folders:
        found = [path for name in names for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
        if len({path.name.removesuffix(".gz") for path in found}) == len(names):
            return [next(path for path in found if path.name.removesuffix(".gz") == name) for name in names]
    return None


def find_or_download(
    dataset: str,
    data_root: Path,
    folders: Sequence[str],
    names: Sequence[str],
    download: Callable[[], object] | None = None,
    source: str | None = None,
    shared: Sequence[Path] = (),
    published: Sequence[str] = (),
) -> list[Path]:
    """The files of a dataset.

    Args:
        dataset: its name, for messages.
        data_root: the folder in which the user keeps datasets.
        folders: where below it to look, in this order.
        names: the files, all in one folder, each gzipped or not.
        download: puts them into one of the folders; None if they are not published as files.
        source: the address that it fetches, for the message.
        shared: where to look besides.
        published: the files of both splits as they are published, for the message; `names` by default.

    Raises:
        DatasetError: the files are nowhere and cannot be downloaded; the message says which to fetch and where to put
            them.
    """
    places = [*(data_root / folder for folder in folders), *shared]
    reason = "is not published as files to download"
    found = find(places, names)
    if found is None and download is not None:
        try:
            download()
        except Exception as error:  # a connection that breaks off can raise anything
            reason = f"cannot be downloaded ({one_line(error)})"
        found = find(places, names)
    if found is None:
        of = "" if source is None else f" of {source}"
        where = (data_root / folders[0]).resolve()
        raise DatasetError(
            f"{dataset} is not under {data_root} and {reason}; put {', '.join(published or names)}{of} into {where}"
        )
    return found
