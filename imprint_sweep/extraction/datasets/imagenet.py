"""ImageNet-1K (ILSVRC2012): photographs of 1,000 classes, in the archives that are published or unpacked.

Nothing need be unpacked: archives are read where they are, and of the training archive only the classes asked for.
"""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from imprint_sweep.embeddings.cache import Split
from imprint_sweep.errors import DatasetError, enumerated
from imprint_sweep.extraction.datasets.files import damaged
from imprint_sweep.extraction.datasets.image_files import ImageFile, ImageFiles
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages

N_CLASSES = 1000
FOLDERS = ("imagenet", "ImageNet", "ILSVRC2012", ".")
"""Where to look under the data root."""

DEVKIT = "ILSVRC2012_devkit_t12"
TRAIN_ARCHIVE, VALIDATION_ARCHIVE = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
TORCHVISION_META = "meta.bin"
"""What torchvision keeps of the devkit."""

_META, _TRUTH = "data/meta.mat", "data/ILSVRC2012_validation_ground_truth.txt"

Images = Mapping[str, Sequence[ImageFile]]
"""WordNet id -> its images."""


@dataclass(frozen=True)
class Devkit:
    """What the development kit says of the images.

    Args:
        wnids: the WordNet ids of the classes, ascending: their positions are the labels, as in torchvision.
        validation: the WordNet id of each validation image, by ascending file name; None if nothing says so.
        training_counts: training images of each class, empty if nothing says so.
    """

    wnids: Sequence[str]
    validation: Sequence[str] | None = None
    training_counts: Mapping[str, int] = field(default_factory=dict)


def read(split: Split, data_root: Path, classes: Collection[int] | None = None) -> LabelledImages:
    """Read one split: class after class, and within a class by file name, however the images are kept.

    ``train`` and ``val`` are folders of images by WordNet id (``val`` may be flat, as published), or the published
    archives. Labels count the WordNet ids of the devkit; without it, all 1,000 folders must be there.

    Args:
        split: ``"train"``, or ``"test"`` for the validation split that stands in for it (method, section 1).
        data_root: the folder in which the user keeps datasets.
        classes: which to read; None means all.

    Raises:
        DatasetError: files are missing or damaged, a class has not all its images, or there is no such class.
    """
    root = _root(split, data_root)
    devkit = _devkit(root)
    if unknown := sorted(set(classes or ()) - set(range(N_CLASSES))):
        raise DatasetError(f"ImageNet has the classes 0 to {N_CLASSES - 1}, not {enumerated(unknown)}")
    labels = range(N_CLASSES) if classes is None else sorted(classes)
    wanted = {devkit.wnids[label]: label for label in labels}
    place, images = (_training if split == "train" else _validation)(root, devkit, wanted)
    if absent := [wnid for wnid in wanted if not images.get(wnid)]:
        raise DatasetError(f"{place} lacks {len(absent)} of the {len(wanted)} classes asked for: {_listed(absent)}")
    ordered = [(file, label) for wnid, label in wanted.items() for file in sorted(images[wnid], key=_file_name)]
    files, numbers = zip(*ordered, strict=True)
    return LabelledImages(ImageFiles(files), np.array(numbers, np.int64), str(place), complete=len(labels) == N_CLASSES)


def _root(split: Split, data_root: Path) -> Path:
    """The folder that has the images of a split."""
    folder, archive = ("train", TRAIN_ARCHIVE) if split == "train" else ("val", VALIDATION_ARCHIVE)
    for root in (data_root / name for name in FOLDERS):
        if (root / folder).is_dir() or (root / archive).is_file():
            return root
    raise DatasetError(
        f"ImageNet is not under {data_root} and needs an account to download: put {DEVKIT}.tar.gz, {TRAIN_ARCHIVE} and "
        f"{VALIDATION_ARCHIVE} of https://image-net.org into {data_root / FOLDERS[0]}, or the folders train and val of "
        "images by class beside the devkit"
    )


# The devkit


def _devkit(root: Path) -> Devkit:
    if (root / DEVKIT / _META).is_file():
        with _explained(root / DEVKIT):
            return _parse_devkit(lambda name: (root / DEVKIT / name).read_bytes())
    if (root / f"{DEVKIT}.tar.gz").is_file():
        with _explained(root / f"{DEVKIT}.tar.gz"), tarfile.open(root / f"{DEVKIT}.tar.gz") as archive:
            return _parse_devkit(lambda name: _member(archive, f"{DEVKIT}/{name}"))
    if (root / TORCHVISION_META).is_file():
        import torch

        with _explained(root / TORCHVISION_META):
            names, validation = torch.load(root / TORCHVISION_META, weights_only=True)
            return Devkit(sorted(names), validation)
    for folder in (root / "train", root / "val"):
        wnids = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        if len(wnids) == N_CLASSES:
            return Devkit(wnids)
    raise DatasetError(
        f"{root} has no devkit, which numbers the classes: put {DEVKIT}.tar.gz of https://image-net.org there"
    )


def _parse_devkit(content: Callable[[str], bytes]) -> Devkit:
    from scipy.io import loadmat

    file: Any = BytesIO(content(_META))
    synsets = loadmat(file, squeeze_me=True)["synsets"]
    # Groups of classes are listed too; they have children.
    leaves = synsets[synsets["num_children"] == 0]
    wnids = [str(wnid) for wnid in leaves["WNID"]]
    if len(set(wnids)) != N_CLASSES:
        raise ValueError(f"its meta.mat lists {len(set(wnids))} classes instead of {N_CLASSES}")
    by_number = dict(zip(leaves["ILSVRC2012_ID"].tolist(), wnids, strict=True))
    truth = [by_number[int(line)] for line in content(_TRUTH).split()]
    counts = dict(zip(wnids, leaves["num_train_images"].tolist(), strict=True))
    return Devkit(sorted(wnids), truth, counts)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None
    return file.read()


# The images, in folders or archives


def _training(root: Path, devkit: Devkit, wnids: Collection[str]) -> tuple[Path, Images]:
    folder, archive = root / "train", root / TRAIN_ARCHIVE
    place, images = (folder, _in_folders(folder, wnids)) if folder.is_dir() else (archive, _in_archives(archive, wnids))
    for wnid, files in images.items():
        if files and len(files) != (expected := devkit.training_counts.get(wnid, len(files))):
            raise DatasetError(
                f"{place} has {len(files):,} of the {expected:,} images of {wnid}; unpack or fetch it again"
            )
    return place, images


def _validation(root: Path, devkit: Devkit, wnids: Collection[str]) -> tuple[Path, Images]:
    folder, archive = root / "val", root / VALIDATION_ARCHIVE
    if folder.is_dir() and any(path.is_dir() for path in folder.iterdir()):
        return folder, _in_folders(folder, wnids)
    place = folder if folder.is_dir() else archive
    files = sorted(_in_folder(folder) if folder.is_dir() else _in_archive(archive), key=_file_name)
    if devkit.validation is None:
        raise DatasetError(f"{root} has no devkit, which names the classes of {place}: put {DEVKIT}.tar.gz there")
    if len(files) != len(devkit.validation):
        raise DatasetError(
            f"{place} has {len(files):,} images, the devkit the classes of {len(devkit.validation):,}; "
            "unpack or fetch it again"
        )
    images = defaultdict(list)
    for file, wnid in zip(files, devkit.validation, strict=True):
        images[wnid].append(file)
    return place, images


def _in_folders(folder: Path, wnids: Collection[str]) -> Images:
    return {wnid: _in_folder(folder / wnid) for wnid in wnids if (folder / wnid).is_dir()}


def _in_folder(folder: Path) -> list[ImageFile]:
    return [ImageFile(path) for path in folder.iterdir() if path.suffix.lower() in (".jpeg", ".jpg")]


def _in_archive(path: Path) -> list[ImageFile]:
    with _explained(path), tarfile.open(path, "r:") as archive:
        return _members(path, archive)


def _in_archives(path: Path, wnids: Collection[str]) -> Images:
    """Of an archive that holds one of each class: an archive's headers are read, not what lies between them."""
    images = {}
    with _explained(path), tarfile.open(path, "r:") as outer:
        for member in outer:
            wnid = member.name.removesuffix(".tar")
            if wnid not in wnids:
                continue
            packed: IO[bytes] | None = outer.extractfile(member)
            with _explained(path, member.name), tarfile.open(fileobj=packed, mode="r:") as inner:
                images[wnid] = _members(path, inner, member.offset_data)
    return images


def _members(path: Path, archive: tarfile.TarFile, start: int = 0) -> list[ImageFile]:
    return [ImageFile(path, m.name, start + m.offset_data, m.size) for m in archive if m.isfile()]


def _file_name(file: ImageFile) -> str:
    return file.name.rpartition("/")[2] or file.path.name


@contextmanager
def _explained(path: Path, member: str = "") -> Iterator[None]:
    try:
        yield
    except DatasetError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise damaged(path, error, member=member) from error


def _listed(wnids: Sequence[str]) -> str:
    return ", ".join(wnids[:3]) + (", ..." if len(wnids) > 3 else "")
