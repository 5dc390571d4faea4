"""Small datasets in the file formats in which they are published."""

from __future__ import annotations

import bz2
import gzip
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import savemat

Pixels = NDArray[np.uint8]
SPLITS = ("train", "test")


def idx(shape: Sequence[int], values: bytes, kind: int = 8) -> bytes:
    """An idx file as its format describes it."""
    return bytes([0, 0, kind, len(shape)]) + b"".join(struct.pack(">I", size) for size in shape) + values


def write_idx(folder: Path, split: str, images: Pixels, labels: Sequence[int], *, zipped: bool = False) -> None:
    """MNIST or FashionMNIST: images (n, h, w)."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = "train" if split == "train" else "t10k"
    for name, content in (
        (f"{prefix}-images-idx3-ubyte", idx(images.shape, images.tobytes())),
        (f"{prefix}-labels-idx1-ubyte", idx((len(labels),), bytes(labels))),
    ):
        (folder / f"{name}{'.gz' * zipped}").write_bytes(gzip.compress(content) if zipped else content)


def write_cifar10(folder: Path, images: Pixels, labels: Sequence[int]) -> None:
    """CIFAR-10: pickles of protocol 2, a row an image (n, 32, 32, 3) and its colours one after the other.

    The last image is the test batch, those before it go to the five training batches in turn.
    """
    folder.mkdir(parents=True)
    rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    parts = dict(
        zip((f"data_batch_{i}" for i in range(1, 6)), np.array_split(np.arange(len(images) - 1), 5), strict=True)
    )
    for name, part in {**parts, "test_batch": np.array([len(images) - 1])}.items():
        batch = {"data": rows[part], "labels": [int(labels[i]) for i in part]}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def write_svhn(folder: Path, split: str, images: Pixels, labels: Sequence[int]) -> None:
    """SVHN: a MATLAB file, images (n, 32, 32, 3) with their number last, and the digit 0 written as 10."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.array([[label or 10] for label in labels], np.uint8)
    savemat(folder / f"{split}_32x32.mat", {"X": images.transpose(1, 2, 3, 0), "y": numbers})


def write_usps(folder: Path, split: str, values: NDArray[np.float64], labels: Sequence[int]) -> None:
    """USPS: bzip2-compressed libsvm lines of values (n, 256) in [-1, 1], the digits counted from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        " ".join([str(label + 1), *(f"{index}:{value:g}" for index, value in enumerate(row, 1))])
        for label, row in zip(labels, values, strict=True)
    ]
    content = " \n".join([*lines, ""]).encode()
    (folder / ("usps.bz2" if split == "train" else "usps.t.bz2")).write_bytes(bz2.compress(content))


def write_mnist_m(folder: Path, split: str, images: Pixels, labels: Sequence[int]) -> None:
    """MNIST-M: images (n, 28, 28, 3) and labels in a file of torch's."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save((torch.from_numpy(images.copy()), torch.tensor(labels)), folder / f"mnist_m_{split}.pt")


def write_digit_sets(data_root: Path, per_class: int) -> dict[str, list[int]]:
    """The four parts of CombiDigits with noise for images, the same in both splits but for the noise.

    Returns:
        The labels of each part, in its order.
    """
    rng = np.random.default_rng(0)
    labels = {
        name: rng.permutation(np.repeat(np.arange(10), per_class)).tolist()
        for name in ("mnist", "mnist_m", "usps", "svhn")
    }
    n = 10 * per_class
    for split in SPLITS:
        write_idx(data_root / "mnist", split, rng.integers(0, 256, (n, 28, 28), np.uint8), labels["mnist"], zipped=True)
        write_mnist_m(data_root / "mnist_m", split, rng.integers(0, 256, (n, 28, 28, 3), np.uint8), labels["mnist_m"])
        write_usps(data_root / "usps", split, rng.uniform(-1, 1, (n, 256)).round(4), labels["usps"])
        write_svhn(data_root / "svhn", split, rng.integers(0, 256, (n, 32, 32, 3), np.uint8), labels["svhn"])
    return labels
