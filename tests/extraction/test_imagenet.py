"""ImageNet in its published archives, written here in their format and unpacked by torchvision, which is the oracle."""

from __future__ import annotations

import hashlib
import io
import shlex
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey, Split
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets import LabelledImages, imagenet, read_split
from imprint_sweep.extraction.datasets.image_files import ImageFiles
from imprint_sweep.extraction.torchvision_operators import torchvision
from imprint_sweep.grid.cell import Model
from imprint_sweep.grid.tasks import classes_of
from imprint_sweep.store.parts import read_parts
from tests.outputs import EMBED, IMPRINT, python

RNG = np.random.default_rng(0)
WNIDS = [f"n{number:08d}" for number in sorted(RNG.choice(10**7, 1000, replace=False).tolist())]
"""By label: torchvision sorts them. The devkit numbers them in another order."""
NUMBERS = dict(zip(RNG.permutation(WNIDS).tolist(), range(1, 1001), strict=True))
TRAIN = {wnid: 2 + label % 2 for label, wnid in enumerate(WNIDS)}
"""Training images of each class."""
TRUTH = RNG.permutation([*WNIDS, *WNIDS[::100]]).tolist()
"""The class of each validation image."""
GREY = 7
"""Every so many images is grey."""
ARCHIVES = {name: name for name in (imagenet.TRAIN_ARCHIVE, imagenet.VALIDATION_ARCHIVE, f"{imagenet.DEVKIT}.tar.gz")}
SOME = frozenset({3, 100, 101, 998})


def jpeg(number: int) -> bytes:
    """An image of its own size and colours."""
    shape = (5 + number % 3, 4 + number % 5) if number % GREY == 0 else (5 + number % 3, 4 + number % 5, 3)
    pixels = np.random.default_rng(number).integers(0, 256, shape, np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG")
    return content.getvalue()


def write_tar(path: Path | io.BytesIO, members: Sequence[tuple[str, bytes]], mode: str = "w") -> None:
    name, fileobj = (path, None) if isinstance(path, Path) else (None, path)
    with tarfile.open(name, mode, fileobj) as archive:  # type: ignore[call-overload]
        for member, content in members:
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def synsets() -> np.ndarray[tuple[int, ...], np.dtype[np.void]]:
    """The struct array of meta.mat: the classes, then groups of them."""
    fields = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height"]
    rows: list[tuple[object, ...]]
    rows = [(NUMBERS[wnid], wnid, f"thing, {wnid}", "a thing", 0, [], 0, TRAIN[wnid]) for wnid in NUMBERS]
    rows += [(1001 + i, f"n9999999{i}", "group", "things", 2, [i + 1, i + 2], 1, 0) for i in range(3)]
    return np.array(rows, dtype=[(name, object) for name in (*fields, "num_train_images")])


def write_devkit(root: Path) -> None:
    meta: Any = io.BytesIO()
    savemat(meta, {"synsets": synsets()[:, None]})
    truth = "".join(f"{NUMBERS[wnid]}\n" for wnid in TRUTH)
    folder = imagenet.DEVKIT
    members = [
        (f"{folder}/readme.txt", b"Development kit"),
        (f"{folder}/data/meta.mat", meta.getvalue()),
        (f"{folder}/data/ILSVRC2012_validation_ground_truth.txt", truth.encode()),
    ]
    write_tar(root / f"{folder}.tar.gz", members, "w:gz")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the three published files, in small."""
    data_root = tmp_path_factory.mktemp("data")
    root = data_root / "imagenet"
    root.mkdir()
    write_devkit(root)
    classes = []
    for label, wnid in enumerate(WNIDS):
        # Not in the order of their names, as nothing promises that.
        images = [(f"{wnid}_{10 - i}.JPEG", jpeg(10 * label + i)) for i in range(TRAIN[wnid])]
        packed = io.BytesIO()
        write_tar(packed, images)
        classes.append((f"{wnid}.tar", packed.getvalue()))
    write_tar(root / imagenet.TRAIN_ARCHIVE, classes)
    images = [(f"ILSVRC2012_val_{i:08d}.JPEG", jpeg(20_000 + i)) for i in range(1, len(TRUTH) + 1)]
    write_tar(root / imagenet.VALIDATION_ARCHIVE, images[::-1])
    return data_root


@pytest.fixture(scope="module")
def unpacked(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root in which torchvision has unpacked them: the folders train and val, and meta.bin."""
    root = tmp_path_factory.mktemp("unpacked") / "imagenet"
    shutil.copytree(published / "imagenet", root)
    # torchvision knows the checksums of the real files.
    checksums = {
        part: (name, hashlib.md5((root / name).read_bytes()).hexdigest())
        for part, (name, _) in torchvision.datasets.imagenet.ARCHIVE_META.items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchvision.datasets.imagenet, "ARCHIVE_META", checksums)
        for split in ("train", "val"):
            torchvision.datasets.ImageNet(root, split)
    for name in ARCHIVES:
        (root / name).unlink()
    return root.parent


def oracle(unpacked: Path, split: Split) -> tuple[list[int], list[Path]]:
    """Labels and files, as torchvision reads them."""
    read = torchvision.datasets.ImageNet(unpacked / "imagenet", "train" if split == "train" else "val")
    assert read.wnids == WNIDS
    return read.targets, [Path(path) for path, _ in read.imgs]


def names(split: LabelledImages) -> list[str]:
    assert isinstance(split.images, ImageFiles)
    return [file.name.rpartition("/")[2] or file.path.name for file in split.images.files]


@pytest.mark.parametrize("split", ["train", "test"])
def test_archives_and_folders_are_read_as_torchvision_reads_them(published: Path, unpacked: Path, split: Split) -> None:
    labels, files = oracle(unpacked, split)
    for data_root in (published, unpacked):
        read = read_split("imagenet", split, data_root)
        assert read.labels.dtype == np.int64
        assert read.labels.tolist() == labels
        assert names(read) == [path.name for path in files]
        assert read.complete
        for index in range(0, len(files), 50):
            with Image.open(files[index]) as image:
                np.testing.assert_array_equal(read.images[index], np.asarray(image))


@pytest.mark.parametrize("split", ["train", "test"])
def test_only_the_classes_asked_for_are_read(published: Path, unpacked: Path, split: Split) -> None:
    labels, files = oracle(unpacked, split)
    expected = [(label, path.name) for label, path in zip(labels, files, strict=True) if label in SOME]
    for data_root in (published, unpacked):
        read = read_split("imagenet", split, data_root, SOME)
        assert list(zip(read.labels.tolist(), names(read), strict=True)) == expected
        assert not read.complete


def test_classes_keep_their_numbers_where_the_others_are_not_there(unpacked: Path, tmp_path: Path) -> None:
    """Nobody needs a terabyte of folders for a hundred classes."""
    for name in ("meta.bin", *(f"train/{WNIDS[label]}" for label in SOME)):
        source, target = unpacked / "imagenet" / name, tmp_path / "ILSVRC2012" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    read = read_split("imagenet", "train", tmp_path, SOME)
    np.testing.assert_array_equal(read.labels, read_split("imagenet", "train", unpacked, SOME).labels)
    with pytest.raises(DatasetError, match=f"lacks 1 of the 2 classes asked for: {WNIDS[5]}"):
        read_split("imagenet", "train", tmp_path, {3, 5})


@pytest.mark.parametrize("unpack", [False, True])
def test_the_validation_images_may_lie_flat_beside_the_devkit(published: Path, tmp_path: Path, unpack: bool) -> None:
    root, source = tmp_path / "ImageNet", published / "imagenet"
    with tarfile.open(source / imagenet.VALIDATION_ARCHIVE) as archive:
        archive.extractall(root / "val", filter="data")
    if unpack:
        with tarfile.open(source / f"{imagenet.DEVKIT}.tar.gz") as archive:
            archive.extractall(root, filter="data")
    else:
        shutil.copy(source / f"{imagenet.DEVKIT}.tar.gz", root)
    read, expected = (read_split("imagenet", "test", data_root) for data_root in (tmp_path, published))
    np.testing.assert_array_equal(read.labels, expected.labels)
    assert names(read) == names(expected)


def test_a_thousand_folders_need_no_devkit_and_fewer_do(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "imagenet" / "val"
    shutil.copytree(unpacked / "imagenet" / "val", folder)
    read, expected = (read_split("imagenet", "test", data_root) for data_root in (tmp_path, unpacked))
    np.testing.assert_array_equal(read.labels, expected.labels)
    shutil.rmtree(folder / WNIDS[500])
    with pytest.raises(DatasetError, match=r"has no devkit, which numbers the classes: put ILSVRC2012_devkit_t12"):
        read_split("imagenet", "test", tmp_path)


# What is missing or damaged


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A data root of one's own with the published files."""
    shutil.copytree(published / "imagenet", tmp_path / "imagenet")
    return tmp_path


def test_missing_files_say_which_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(DatasetError) as caught:
        read_split("imagenet", "train", tmp_path)
    for words in (str(tmp_path / "imagenet"), *ARCHIVES, "image-net.org", "train and val"):
        assert words in str(caught.value)


def test_a_class_that_does_not_exist_is_refused(published: Path) -> None:
    with pytest.raises(DatasetError, match="classes 0 to 999, not 1000"):
        read_split("imagenet", "test", published, {3, 1000})


@pytest.mark.parametrize("kept", [0.3, 0.98])
@pytest.mark.parametrize(("name", "split"), list(zip(ARCHIVES, ("train", "test", "test"), strict=True)))
def test_a_truncated_archive_is_refused(copied: Path, name: str, split: Split, kept: float) -> None:
    path = copied / "imagenet" / name
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(DatasetError, match=r"fetch (the file|it) again") as caught:
        read_split("imagenet", split, copied)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_archive_within_the_archive_is_named(copied: Path) -> None:
    path = copied / "imagenet" / imagenet.TRAIN_ARCHIVE
    with tarfile.open(path) as archive:
        start = archive.getmember(f"{WNIDS[100]}.tar").offset_data
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 512)
    read_split("imagenet", "train", copied, {3})  # other classes are none of its business
    with pytest.raises(DatasetError, match=rf"cannot read {WNIDS[100]}\.tar in .*img_train\.tar"):
        read_split("imagenet", "train", copied, SOME)


def test_a_damaged_image_in_an_archive_is_named(copied: Path) -> None:
    path = copied / "imagenet" / imagenet.VALIDATION_ARCHIVE
    with tarfile.open(path) as archive:
        member = archive.next()
        assert member is not None
    with path.open("r+b") as file:
        file.seek(member.offset_data)
        file.write(b"\0" * member.size)
    read = read_split("imagenet", "test", copied)
    with pytest.raises(DatasetError, match=rf"img_val\.tar \({member.name}\)"):
        read.images[names(read).index(member.name)]


@pytest.mark.parametrize(
    ("remove", "split", "reason"),
    [
        ("train/{}/{}_10.JPEG", "train", r"has 2 of the 3 images of n\d+; unpack or fetch it again"),
        ("val/ILSVRC2012_val_00000001.JPEG", "test", "has 1,009 images, the devkit the classes of 1,010"),
    ],
)
def test_a_class_must_have_all_its_images(copied: Path, remove: str, split: Split, reason: str) -> None:
    """As after unpacking that was interrupted."""
    root, wnid = copied / "imagenet", WNIDS[3]
    with tarfile.open(root / imagenet.VALIDATION_ARCHIVE) as archive:
        archive.extractall(root / "val", filter="data")
    with tarfile.open(root / imagenet.TRAIN_ARCHIVE) as archive:
        packed = archive.extractfile(f"{wnid}.tar")
        with tarfile.open(fileobj=packed) as inner:
            inner.extractall(root / "train" / wnid, filter="data")
    read_split("imagenet", split, copied, {3})
    (root / remove.format(wnid, wnid)).unlink()
    with pytest.raises(DatasetError, match=reason):
        read_split("imagenet", split, copied, {3})


@pytest.mark.parametrize(
    ("member", "content", "reason"),
    [
        ("data/meta.mat", b"no matrix", "cannot read .*ILSVRC2012_devkit_t12"),
        ("data/ILSVRC2012_validation_ground_truth.txt", b"one\ntwo\n", "cannot read .*ILSVRC2012_devkit_t12"),
        ("data/ILSVRC2012_validation_ground_truth.txt", None, "ILSVRC2012_validation_ground_truth"),
    ],
)
def test_a_damaged_devkit_is_refused(copied: Path, member: str, content: bytes | None, reason: str) -> None:
    root = copied / "imagenet"
    with tarfile.open(root / f"{imagenet.DEVKIT}.tar.gz") as archive:
        archive.extractall(root, filter="data")
    path = root / imagenet.DEVKIT / member
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        read_split("imagenet", "test", copied)


# From the archives to accuracies

PIXELS = ("model=pixels", "model.image_size=4", "task=imagenet")


@pytest.mark.slow
def test_one_entry_of_a_hundred_classes_serves_all_d_in_one_tasks(published: Path, tmp_path: Path) -> None:
    (tmp_path / "data").symlink_to(published)
    printed = python(tmp_path, EMBED, *PIXELS)
    cache, model = EmbeddingCache(tmp_path / "embeddings"), Model("pixels", "raw", 4)
    sampled = sorted(classes_of("imagenet", range(1000), 100))
    counts = {
        "train": {label: TRAIN[WNIDS[label]] for label in sampled},
        "test": {label: TRUTH.count(WNIDS[label]) for label in sampled},
    }
    for split, line in zip(SPLITS, printed.splitlines(), strict=True):
        assert cache.open(EntryKey(model, "imagenet", split)).header.class_counts == counts[split]
        assert f": {sum(counts[split].values())} x " in line
    before = {path: path.read_bytes() for path in cache.paths()}

    merged = ["task.merge=1,3,10", "task.remap=0,9"]
    printed = python(tmp_path, EMBED, "-m", *PIXELS, *merged, "task.classes=all,even")
    assert printed.count("exists") == len(printed.splitlines()) == 2 * 12
    python(tmp_path, *IMPRINT, "-m", *PIXELS, *merged, "gen=mean")
    rows = read_parts(tmp_path / "results").table.to_pylist()
    assert {(row["merge"], row["remap"], row["n_labels"], row["status"]) for row in rows} == {
        (merge, remap, 10, "ok") for merge in (1, 3, 10) for remap in (0, 9)
    }
    (first,) = (row["labels"] for row in rows if (row["merge"], row["remap"]) == (1, 0))
    assert [int(label.partition(":")[2]) for label in first] == [214, 47, 528, 496, 723, 97, 532, 782, 412, 992]
    assert {path: path.read_bytes() for path in cache.paths()} == before

    # A task about other classes says what to do, and that does it without losing what was there.
    first, second = 999, 7  # not among the hundred
    other = [*PIXELS, "task.sample=null", f"task.classes=[{first},{second}]", "gen=mean"]
    error = python(tmp_path, *IMPRINT, *other, code=2)
    assert f"sample of class {first}, {second} was embedded; add them with: " in error
    line = error.partition("add them with: ")[2]
    words = [word for word in shlex.split(line)[2:] if not word.startswith("paths.outputs=")]
    python(tmp_path, EMBED, *words)
    python(tmp_path, *IMPRINT, *other)
    for split in SPLITS:
        assert set(cache.open(EntryKey(model, "imagenet", split)).header.class_counts) == {*sampled, first, second}
