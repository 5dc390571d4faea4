"""Datasets, in their published formats and order."""

from __future__ import annotations

import bz2
import errno
import gzip
import os
import pickle
import re
import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from imprint_sweep.embeddings.cache import SPLITS, Split
from imprint_sweep.errors import DatasetError
from imprint_sweep.extraction.datasets import DATASETS, check_splits, mnist, read_split
from imprint_sweep.extraction.datasets.idx import read_idx
from imprint_sweep.extraction.datasets.image_files import ImageFiles
from imprint_sweep.extraction.datasets.labelled_images import LabelledImages
from imprint_sweep.extraction.torchvision_operators import torchvision
from tests import published
from tests.published import Pixels, idx
from tests.stand_ins import HTML, LFS, STAND_INS

LABELS = (3, 0, 9, 3)
GZIPPED = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, t10k-labels-idx1-ubyte.gz"
PIXELS = np.arange(4 * 28 * 28, dtype=np.int64).reshape(4, 28, 28) % 251


def write(folder: Path, split: Split, *, zipped: bool, labels: Sequence[int] = LABELS) -> None:
    """MNIST or FashionMNIST."""
    published.write_idx(folder, split, PIXELS.astype(np.uint8), labels, zipped=zipped)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and no system package: what is not under the data root is missing."""

    def download(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nName or service not known")

    for name in ("MNIST", "FashionMNIST", "CIFAR10", "SVHN", "USPS"):
        monkeypatch.setattr(torchvision.datasets, name, download)
    monkeypatch.setitem(DATASETS, "fashion_mnist", replace(mnist.FASHION_MNIST, shared=()).read)


# scikit-learn's digits


def test_digits_divide_the_whole_set_in_its_own_order() -> None:
    train, test = (read_split("digits", split, Path("unused")) for split in ("train", "test"))
    assert (len(train.images), len(test.images)) == (1257, 540)
    whole = load_digits()
    stretched = {image.tobytes() for image in np.rint(whole.images * 255 / 16).astype(np.uint8)}
    assert {np.asarray(image).tobytes() for part in (train, test) for image in part.images} == stretched
    # In the set's own order: the labels of each part are a subsequence of the whole set's.
    for part in (train, test):
        rest = iter(whole.target.tolist())
        assert all(label in rest for label in part.labels.tolist())


def test_digits_are_divided_alike_in_every_class() -> None:
    train, test = (np.bincount(read_split("digits", split, Path("unused")).labels) for split in ("train", "test"))
    np.testing.assert_array_equal(train + test, np.bincount(load_digits().target))
    assert np.abs(test - 0.3 * (train + test)).max() < 1


def test_the_division_of_digits_is_fixed() -> None:
    """Another division would be another dataset under the same name."""
    assert read_split("digits", "test", Path("unused")).labels[:12].tolist() == [0, 1, 4, 5, 8, 5, 6, 5, 9, 9, 1, 3]


# FashionMNIST and MNIST


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("folder", ["FashionMNIST/raw", "fashion_mnist", "fashion-mnist", "."])
def test_idx_files_are_found_where_people_keep_them(tmp_path: Path, folder: str, zipped: bool) -> None:
    write(tmp_path / folder, "test", zipped=zipped)
    split = read_split("fashion_mnist", "test", tmp_path)
    np.testing.assert_array_equal(split.images, PIXELS)
    np.testing.assert_array_equal(split.labels, LABELS)
    assert split.labels.dtype == np.int64
    assert str(tmp_path) in split.source


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("doubled", [False, True])
def test_idx_files_are_found_by_the_names_that_copies_have(
    tmp_path: Path, suffix: str, zipped: bool, dotted: bool, doubled: bool
) -> None:
    """Some have a dot, some a folder each, and a browser or an archiver may have unpacked them, or not."""
    write(tmp_path / "mnist", "train", zipped=zipped)
    for path in list((tmp_path / "mnist").iterdir()):
        name = path.name.removesuffix(".gz").replace("-idx", ".idx" if dotted else "-idx")
        target = path.with_name(name) / name if doubled else path.with_name(f"{name}{suffix}")
        content = path.read_bytes()
        path.unlink()
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content)
    split = read_split("mnist", "train", tmp_path)
    np.testing.assert_array_equal(split.images, PIXELS)
    np.testing.assert_array_equal(split.labels, LABELS)


@pytest.mark.parametrize("compress", [None, gzip.compress, bz2.compress])
@pytest.mark.parametrize("dataset", ["cifar10", "svhn", "usps", "mnist_m"])
def test_other_files_are_decompressed_by_content_too(
    tmp_path: Path, dataset: str, compress: Callable[[bytes], bytes] | None
) -> None:
    WRITERS[dataset](tmp_path / dataset, [3, 1, 0, 9, 1, 2])
    expected = read_split(dataset, "test", tmp_path)
    for path in (tmp_path / dataset).iterdir():
        content = path.read_bytes()
        content = bz2.decompress(content) if dataset == "usps" else content
        path.write_bytes(content if compress is None else compress(content))
        if dataset == "usps":
            path.rename(path.with_suffix(""))
    found = read_split(dataset, "test", tmp_path)
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("form", STAND_INS)
@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "svhn", "usps", "mnist_m"])
def test_a_stand_in_for_a_file_of_a_dataset_is_said(tmp_path: Path, dataset: str, form: str) -> None:
    WRITERS[dataset](tmp_path / dataset, [3, 1, 0, 9, 1, 2])
    for path in (tmp_path / dataset).iterdir():
        path.write_bytes(STAND_INS[form])
    with pytest.raises(DatasetError, match=r"cannot read .*(run: git|; fetch the file again)") as caught:
        read_split(dataset, "test", tmp_path)
    assert not re.search("pickle|weights_only|buffer", str(caught.value))


def test_the_users_files_come_before_those_of_the_system(tmp_path: Path, fashion_mnist: Path) -> None:
    write(tmp_path, "train", zipped=True)
    assert len(read_split("fashion_mnist", "train", tmp_path).images) == 4
    assert str(fashion_mnist) in read_split("fashion_mnist", "test", tmp_path).source


def test_the_real_fashion_mnist(fashion_mnist: Path) -> None:
    for split, count in zip(SPLITS, (60_000, 10_000), strict=True):
        read = read_split("fashion_mnist", split, fashion_mnist)
        assert np.shape(read.images) == (count, 28, 28)
        assert np.bincount(read.labels).tolist() == [count // 10] * 10
        assert read.labels[0] == 9


def test_mnist_is_not_taken_for_fashion_mnist(tmp_path: Path) -> None:
    """Both publish files of the same names."""
    write(tmp_path, "train", zipped=False, labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9))
    with pytest.raises(DatasetError, match="is FashionMNIST's, not MNIST's"):
        read_split("mnist", "train", tmp_path)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("mnist", ["not known", "MNIST/raw", "ossci-datasets", GZIPPED]),
        (
            "fashion_mnist",
            [
                "not known",
                "FashionMNIST/raw",
                "http://fashion-mnist.s3",
                GZIPPED,
            ],
        ),
        ("cifar10", ["not known", "cifar-10-batches-py", "data_batch_1, data_batch_2", "kriz/cifar-10-python.tar.gz"]),
        ("svhn", ["not known", "/svhn", "train_32x32.mat, test_32x32.mat", "stanford.edu/housenumbers"]),
        ("usps", ["not known", "/usps", "usps.bz2, usps.t.bz2", "libsvmtools/datasets"]),
        ("mnist_m", ["is not published", "/mnist_m", "mnist_m_train.pt"]),
    ],
)
def test_missing_files_say_which_to_put_where(tmp_path: Path, dataset: str, words: list[str]) -> None:
    with pytest.raises(DatasetError) as caught:
        read_split(dataset, "train", tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    for word in (str(tmp_path), *words):
        assert word in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError(), "TimeoutError"), (IncompleteRead(b"half"), "IncompleteRead"), (EOFError(), "EOFError")],
)
def test_a_connection_may_break_off_in_any_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def download(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(torchvision.datasets, "SVHN", download)
    with pytest.raises(DatasetError, match=rf"cannot be downloaded \({reason}.*put train_32x32\.mat"):
        read_split("svhn", "train", tmp_path)


# Downloads


@dataclass
class Server:
    """Stands in for torchvision's downloads: writes the files of MNIST slowly, in halves, where it is told to."""

    calls: int = 0
    breaks_off: bool = False

    def __call__(self, root: Path, *, download: bool) -> None:
        assert download
        self.calls += 1
        folder = Path(root) / "MNIST" / "raw"
        folder.mkdir(parents=True)
        for split in SPLITS:
            published.write_idx(folder.with_name("whole"), split, PIXELS.astype(np.uint8), LABELS)
        for path in sorted(folder.with_name("whole").iterdir()):
            content = path.read_bytes()
            with (folder / path.name).open("wb", buffering=0) as file:
                file.write(content[: len(content) // 2])
                time.sleep(0.05)
                if self.breaks_off:
                    raise TimeoutError
                file.write(content[len(content) // 2 :])
        shutil.rmtree(folder.with_name("whole"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()
    monkeypatch.setattr(torchvision.datasets, "MNIST", found)
    return found


def test_what_several_jobs_want_is_downloaded_once_and_read_whole(
    tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    with ThreadPoolExecutor(6) as executor:
        futures = []
        for split in SPLITS * 3:
            futures.append(executor.submit(read_split, "mnist", split, root))
            time.sleep(0.04)
        for future in futures:
            np.testing.assert_array_equal(future.result(60).images, PIXELS)
    assert server.calls == 1
    assert "waiting for another process, which downloads MNIST" in capsys.readouterr().err
    assert len(list((root / "MNIST" / "raw").iterdir())) == 4
    assert not list(root.glob(".MNIST.download-*"))


def test_a_download_that_breaks_off_leaves_nothing_and_the_next_one_works(tmp_path: Path, server: Server) -> None:
    killed = tmp_path / ".MNIST.download-dead"
    killed.mkdir()
    server.breaks_off = True
    with pytest.raises(DatasetError, match=r"cannot be downloaded \(TimeoutError\)"):
        read_split("mnist", "train", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".MNIST.download.lock"]
    server.breaks_off = False
    np.testing.assert_array_equal(read_split("mnist", "train", tmp_path).images, PIXELS)


def test_an_archive_that_was_fetched_by_hand_is_found_by_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"archive")

    def unpack(root: Path, *, download: bool) -> None:
        assert (Path(root) / "cifar-10-python.tar.gz").read_bytes() == b"archive"
        write_cifar10(Path(root) / "cifar-10-batches-py")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", unpack)
    np.testing.assert_array_equal(read_split("cifar10", "train", tmp_path).images, RGB[:5])
    assert (tmp_path / "cifar-10-python.tar.gz").read_bytes() == b"archive"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "buffer|it is empty"),
        (idx((4, 2), bytes(7)), "7 values, but announces 4 x 2"),
        (idx((4, 2), bytes(9)), "9 values, but announces 4 x 2"),
        (idx((4,), bytes(4), kind=0x0D), "starts with 00000d01"),
        (b"\x89PNG", "starts with 89504e47"),
        (bytes([0, 0, 8, 3, 0, 0]), "buffer"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, reason: str, zipped: bool) -> None:
    path = tmp_path / ("labels.gz" if zipped else "labels")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(DatasetError, match=reason) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda c: c[:-20], lambda c: b"not gzip", lambda c: c[:30] + b"\0\0\0\0" + c[34:]])
def test_a_damaged_gzip_file_is_refused(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "images.gz"
    assert callable(damage)
    path.write_bytes(damage(gzip.compress(idx((50, 28), np.random.default_rng(0).bytes(1400)))))
    with pytest.raises(DatasetError, match="fetch the file again"):
        read_idx(path)


def test_images_without_labels_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "train", zipped=False, labels=(1, 2, 3))
    with pytest.raises(DatasetError, match=r"4 images and labels of shape \(3,\)"):
        read_split("fashion_mnist", "train", tmp_path)


def test_swapped_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "train", zipped=False)
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)
    with pytest.raises(DatasetError, match=r"expected \(n, h, w\)"):
        read_split("fashion_mnist", "train", tmp_path)


# The other datasets, each written in its published format

RGB = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), np.uint8)


def write_cifar10(folder: Path) -> None:
    published.write_cifar10(folder, RGB, [9, 8, 7, 6, 5, 4])


def test_cifar10(tmp_path: Path) -> None:
    write_cifar10(tmp_path / "cifar-10-batches-py")
    train, test = (read_split("cifar10", split, tmp_path) for split in ("train", "test"))
    np.testing.assert_array_equal(train.images, RGB[:5])
    np.testing.assert_array_equal(test.images, RGB[5:])
    assert (train.labels.tolist(), test.labels.tolist()) == ([9, 8, 7, 6, 5], [4])


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    write_cifar10(tmp_path / "cifar10")
    (tmp_path / "cifar10" / "test_batch").write_bytes(pickle.dumps({"data": Evil(), "labels": [0]}))
    with pytest.raises(DatasetError, match="which no file of CIFAR-10 needs"):
        read_split("cifar10", "test", tmp_path)
    assert not (tmp_path / "ran").exists()


def write_svhn(folder: Path) -> None:
    published.write_svhn(folder, "test", RGB, [1, 0, 9, 0, 2, 3])


def test_svhn(tmp_path: Path) -> None:
    write_svhn(tmp_path / "svhn")
    split = read_split("svhn", "test", tmp_path)
    np.testing.assert_array_equal(split.images, RGB)
    assert split.labels.tolist() == [1, 0, 9, 0, 2, 3]


def write_usps(folder: Path) -> None:
    values = np.random.default_rng(2).uniform(-1, 1, (3, 256)).round(4)
    values[:, :3] = -1, 0, 1
    published.write_usps(folder, "test", values, [0, 9, 3])


def test_usps_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    write_usps(tmp_path / "usps")
    split = read_split("usps", "test", tmp_path)
    oracle = torchvision.datasets.USPS(str(tmp_path / "usps"), train=False)
    np.testing.assert_array_equal(split.images, oracle.data)
    assert split.labels.tolist() == oracle.targets == [0, 9, 3]


def write_mnist_m(folder: Path) -> None:
    published.write_mnist_m(folder, "test", RGB[:, :28, :28], [3, 1, 4, 1, 5, 9])


def test_mnist_m(tmp_path: Path) -> None:
    write_mnist_m(tmp_path / "mnist_m")
    split = read_split("mnist_m", "test", tmp_path)
    np.testing.assert_array_equal(split.images, RGB[:, :28, :28])
    assert split.labels.tolist() == [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize(
    ("dataset", "write", "name"),
    [
        ("cifar10", write_cifar10, "test_batch"),
        ("svhn", write_svhn, "test_32x32.mat"),
        ("usps", write_usps, "usps.t.bz2"),
        ("mnist_m", write_mnist_m, "mnist_m_test.pt"),
    ],
)
@pytest.mark.parametrize("kept", [0, 0.5])
def test_a_truncated_file_is_refused(
    tmp_path: Path, dataset: str, write: Callable[[Path], None], name: str, kept: float
) -> None:
    write(tmp_path / dataset)
    path = tmp_path / dataset / name
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DatasetError, match="fetch the file again") as caught:
        read_split(dataset, "test", tmp_path)
    assert str(path) in str(caught.value)


WRITERS: dict[str, Callable[[Path, Sequence[int]], None]] = {
    "mnist": lambda folder, labels: published.write_idx(folder, "test", RGB[:, :28, :28, 0], labels),
    "cifar10": lambda folder, labels: published.write_cifar10(folder, RGB, labels),
    "svhn": lambda folder, labels: published.write_svhn(folder, "test", RGB, labels),
    "usps": lambda folder, labels: published.write_usps(folder, "test", np.zeros((6, 256)), labels),
    "mnist_m": lambda folder, labels: published.write_mnist_m(folder, "test", RGB[:, :28, :28], labels),
}


@pytest.mark.parametrize("dataset", WRITERS)
@pytest.mark.parametrize("wrong", [11, 200])
def test_a_label_of_no_class_is_refused(tmp_path: Path, dataset: str, wrong: int) -> None:
    """It must not become another class."""
    WRITERS[dataset](tmp_path / dataset, [3, 1, 0, 9, 1, wrong])
    with pytest.raises(DatasetError, match=rf"expected labels of ten classes, found another one, {wrong}"):
        read_split(dataset, "test", tmp_path)


def test_labels_that_are_no_whole_numbers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mnist_m").mkdir()
    images, labels = torch.zeros((3, 28, 28, 3), dtype=torch.uint8), torch.tensor([0, 1.5, 2])
    torch.save((images, labels), tmp_path / "mnist_m" / "mnist_m_test.pt")
    with pytest.raises(DatasetError, match=r"another one, 1\.5"):
        read_split("mnist_m", "test", tmp_path)


@pytest.mark.parametrize("damage", ["5 1:", " 256:"])
def test_usps_needs_256_values_in_their_range(tmp_path: Path, damage: str) -> None:
    published.write_usps(tmp_path / "usps", "test", np.zeros((2, 256)), [4, 4])
    path = tmp_path / "usps" / "usps.t.bz2"
    content = bz2.decompress(path.read_bytes()).decode()
    changed = content.replace("5 1:0", "5 1:1.01", 1) if damage == "5 1:" else content.replace(" 256:0", "", 1)
    assert changed != content
    path.write_bytes(bz2.compress(changed.encode()))
    with pytest.raises(DatasetError, match=r"256 values in \[-1, 1\]"):
        read_split("usps", "test", tmp_path)


def test_other_objects_than_tensors_are_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mnist_m").mkdir()
    torch.save((RGB[:, :28, :28], np.zeros(6)), tmp_path / "mnist_m" / "mnist_m_test.pt")
    with pytest.raises(DatasetError, match=r"holds other objects than tensors$"):
        read_split("mnist_m", "test", tmp_path)


# Folders of images


def write_image_folder(root: Path) -> None:
    for split, label, name, image in (
        ("train", "cat", "b.png", RGB[0]),
        ("train", "cat", "a.png", RGB[1, :, :, 0]),
        ("train", "ant", "c.png", RGB[2, :20]),
        ("test", "ant", "c.png", RGB[4]),
        ("test", "cat", "d.png", RGB[3]),
    ):
        path = root / split / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    (root / "train" / "cat" / "notes.txt").touch()


def test_a_folder_of_images(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    train, test = (read_split("pets", split, tmp_path) for split in ("train", "test"))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 1], [0, 1])
    expected = [RGB[2, :20], RGB[1, :, :, 0], RGB[0]]
    for found, image in zip(train.images, expected, strict=True):
        np.testing.assert_array_equal(found, image)


def test_other_modes_become_grey_or_rgb(tmp_path: Path) -> None:
    folder = tmp_path / "pets" / "train" / "cat"
    folder.mkdir(parents=True)
    for mode in ("1", "L", "LA", "P", "RGBA"):
        Image.fromarray(RGB[0]).convert(mode).save(folder / f"{mode}.png")
    shapes = [np.shape(image) for image in read_split("pets", "train", tmp_path).images]
    assert shapes == [(32, 32), (32, 32), (32, 32, 3), (32, 32, 3), (32, 32, 3)]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_images_are_scaled(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "scans" / "train" / "cat"
    folder.mkdir(parents=True)
    deep = np.array([[0, 257, 300], [128 * 257, 60000, 65535]], np.uint16)
    Image.fromarray(deep).save(folder / f"a.{suffix}")
    (image,) = read_split("scans", "train", tmp_path).images
    assert image.dtype == np.uint8
    assert image.tolist() == [[0, 1, 1], [128, 233, 255]]


def test_images_without_a_scale_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "scans" / "train" / "cat"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((3, 3), np.float32)).save(folder / "a.tif")
    with pytest.raises(DatasetError, match=r"a\.tif: .*save it with 8 or 16 bits"):
        read_split("scans", "train", tmp_path).images[0]


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    """Some systems put one beside each file."""
    write_image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "test" / "cat" / "._d.png").touch()
    (tmp_path / "pets" / "test" / "cat" / ".thumbnails").mkdir()
    Image.fromarray(RGB[0]).save(tmp_path / "pets" / "test" / "cat" / ".thumbnails" / "d.png")
    assert len(read_split("pets", "test", tmp_path).images) == 2


def test_a_class_that_training_lacks_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "test" / "dog").mkdir()
    with pytest.raises(DatasetError, match="has the class dog, which"):
        read_split("pets", "test", tmp_path)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    path = tmp_path / "pets" / "test" / "cat" / "d.png"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DatasetError, match=r"cannot read the image .*d\.png"):
        read_split("pets", "test", tmp_path).images[1]
    path.write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"cannot read the image .*d\.png: it is none that Pillow knows"):
        read_split("pets", "test", tmp_path)


def test_an_image_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "pets")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DatasetError, match=r"cannot read the image .*\.png: .*exceeds limit"):
        read_split("pets", "test", tmp_path)


@pytest.mark.parametrize("missing", ["test", "images"])
def test_a_folder_without_images_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "pets" / "train" / "cat").mkdir(parents=True)
    if missing == "images":
        (tmp_path / "pets" / "test" / "cat").mkdir(parents=True)
    with pytest.raises(DatasetError, match="is no folder" if missing == "test" else "has no images"):
        read_split("pets", "test", tmp_path)


def save(path: Path, image: Pixels = RGB[0], form: str = "PNG") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, form)


def listed(split: LabelledImages) -> list[tuple[str, int]]:
    """Paths and labels, as torchvision's ImageFolder lists them."""
    assert isinstance(split.images, ImageFiles)
    paths = [str(file.path) for file in split.images.files]
    return list(zip(paths, split.labels.tolist(), strict=True))


def test_a_folder_is_listed_as_torchvision_lists_it(tmp_path: Path) -> None:
    """Folders within folders, links to folders and files, suffixes in capitals, names that sort in an unusual way."""
    train = tmp_path / "pets" / "train"
    for name in (
        "cat/b.png",
        "cat/a/z.PNG",
        "cat/a-b/y.png",
        "cat/a/c/x.png",
        "ant/1.png",
        "Zebra/10.png",
        "Zebra/9.png",
    ):
        save(train / name)
    save(tmp_path / "elsewhere" / "e.png")
    save(tmp_path / "bees" / "deep" / "b.png")
    (train / "cat" / "linked").symlink_to(tmp_path / "elsewhere")
    (train / "cat" / "file.png").symlink_to(tmp_path / "elsewhere" / "e.png")
    (train / "bee").symlink_to(tmp_path / "bees")
    (train / "ant" / "more").symlink_to("../../../bees")
    (train / "ant" / "notes.txt").write_text("notes")
    split = read_split("pets", "train", tmp_path)
    assert listed(split) == torchvision.datasets.ImageFolder(str(train)).samples
    assert len(split.labels) == 11


def test_a_linked_split_is_read(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "pets" / "train")
    (tmp_path / "linked" / "test").symlink_to(tmp_path / "pets" / "train")
    assert len(read_split("linked", "test", tmp_path).images) == 3


def test_links_are_followed_once(tmp_path: Path) -> None:
    """A link to a folder above would bring in all other classes, or never end."""
    write_image_folder(tmp_path / "pets")
    cat = tmp_path / "pets" / "train" / "cat"
    save(cat / "real" / "a.png")
    (cat / "again").symlink_to("real")
    (cat / "real" / "loop").symlink_to("..")
    (cat / "up").symlink_to(tmp_path / "pets" / "train")
    (cat / "root").symlink_to("/")
    paths = [
        path.removeprefix(f"{cat}/") for path, label in listed(read_split("pets", "train", tmp_path)) if label == 1
    ]
    assert paths == ["a.png", "b.png", "real/a.png"]


def test_images_are_known_by_their_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And not by their suffix; what was skipped is said, with the number."""
    write_image_folder(tmp_path / "pets")
    cat = tmp_path / "pets" / "train" / "cat"
    for name, form in (("c.jpg_large", "JPEG"), ("d", "PNG"), ("e.webp", "WEBP"), ("f.gif", "GIF"), ("g.txt", "BMP")):
        save(cat / name, form=form)
    contents = {
        "0.jpg": b"",
        "page.jpg": HTML,
        "pointer.png": LFS,
        "report.pdf": b"%PDF-1.7\n" + bytes(range(256)) * 9,
        "data.h5": b"\x89HDF\r\n\x1a\n" + bytes(600),
        "clip.mpg": b"\x00\x00\x01\xb3" + bytes(range(256)),
        "drawing.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(600),
        "array.npy": b"\x93NUMPY" + bytes(600),
    }
    for name, content in contents.items():
        (cat / name).write_bytes(content)
    (cat / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "pets" / "train" / "labels.csv").write_text("a,b")
    monkeypatch.setenv("PATH", str(tmp_path))  # no Ghostscript
    names = [Path(path).name for path, label in listed(read_split("pets", "train", tmp_path)) if label == 1]
    assert names == ["a.png", "b.png", "c.jpg_large", "d", "e.webp", "f.gif", "g.txt"]
    (line,) = capsys.readouterr().err.splitlines()
    # notes.txt is from the fixture
    assert line.startswith(f"note: {tmp_path / 'pets' / 'train'}: skipped {len(contents) + 3} files that are no images")
    assert "2 .jpg" in line
    assert "none that Pillow knows" in line


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "fill the folder"), (b"x", "'x'"), (LFS, "git lfs pull"), (HTML, "web")]
)
def test_a_class_without_images_is_refused(tmp_path: Path, split: Split, content: bytes | None, reason: str) -> None:
    """It would vanish with the images of the other split, or fail in every cell."""
    write_image_folder(tmp_path / "pets")
    for part in ("train", "test"):
        save(tmp_path / "pets" / part / "dog" / "a.png")
    path = tmp_path / "pets" / split / "dog" / "a.png"
    path.unlink() if content is None else path.write_bytes(content)
    other: Split = "test" if split == "train" else "train"
    read_split("pets", other, tmp_path)
    message = rf"pets/{split} has no images that Pillow can open for the class dog.*{reason}"
    with pytest.raises(DatasetError, match=message):
        read_split("pets", split, tmp_path)
    with pytest.raises(DatasetError, match=message):
        check_splits("pets", tmp_path)


def test_folders_of_classes_may_have_any_name(tmp_path: Path) -> None:
    """A class is its number; its name is in messages alone, and these have one line."""
    names = ["\x1b[31mred", " ", "=1+1", "a,b'\"<b>", "a:b+c", "caf\udce9", "x\ny", "日本"]
    for split in SPLITS:
        for name in names:
            save(tmp_path / "odd" / split / name / "a.png")
    for split in SPLITS:
        assert read_split("odd", split, tmp_path).labels.tolist() == list(range(len(names)))
    (tmp_path / "odd" / "test" / "x\ny" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"^[^\n]* for the class x\\ny; fill [^\n]*$"):
        check_splits("odd", tmp_path)
    shutil.rmtree(tmp_path / "odd" / "train" / "x\ny")
    with pytest.raises(DatasetError, match=r"^[^\n]*odd/test has the class x\\ny, which .*odd/train lacks$"):
        check_splits("odd", tmp_path)


def test_a_class_that_the_test_split_lacks_is_refused(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    shutil.rmtree(tmp_path / "pets" / "test" / "ant")
    with pytest.raises(DatasetError, match=r"pets/test has no folder for the class ant, which .*pets/train has"):
        read_split("pets", "test", tmp_path)


def test_what_archivers_and_file_servers_leave_is_no_class(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "pets")
    (tmp_path / "pets" / "train" / "__MACOSX" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "train" / "__MACOSX" / "cat" / "._a.png").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "pets" / "train" / ".ipynb_checkpoints").mkdir()
    save(tmp_path / "pets" / "train" / "cat" / "@eaDir" / "a.png" / "SYNOPHOTO_THUMB_M.png")
    assert read_split("pets", "train", tmp_path).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_split_of_another_name_is_shown(tmp_path: Path, split: Split) -> None:
    write_image_folder(tmp_path / "pets")
    (tmp_path / "pets" / split).rename(tmp_path / "pets" / "validation")
    with pytest.raises(DatasetError, match=rf"{split}.*pets has .*validation"):
        read_split("pets", split, tmp_path)


def test_images_that_are_in_no_class_folder_are_refused(tmp_path: Path) -> None:
    for part in ("train", "test"):
        save(tmp_path / "pets" / part / "cat.0.png")
    with pytest.raises(DatasetError, match=r"has no images in folders, one for each class; it has cat\.0\.png"):
        read_split("pets", "train", tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "pets")
    scandir = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("cat"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DatasetError, match=r"cannot read the folder .*cat: Permission denied"):
        read_split("pets", "train", tmp_path)


def test_a_folder_called_like_another_dataset_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image_folder(tmp_path / "digits")
    assert "scikit-learn" in read_split("digits", "train", tmp_path).source
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"note: digits is a dataset of its own, so the folder {tmp_path / 'digits' / 'train'} is not"
    )


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"no folder unused/fashion_mnits/train .*; did you mean fashion_mnist"):
        read_split("fashion_mnits", "train", Path("unused"))


def test_a_split_needs_images() -> None:
    with pytest.raises(DatasetError, match="0 images"):
        LabelledImages(np.zeros((0, 8, 8), np.uint8), np.zeros(0, np.int64), "nowhere")
