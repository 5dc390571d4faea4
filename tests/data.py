"""Small embeddings for tests: everything that real ones have and that breaks code which forgot about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from imprint_sweep.embeddings.cache import SPLITS, EmbeddingCache, EntryKey
from imprint_sweep.errors import InvalidCellError
from imprint_sweep.grid.cell import Cell, Label, Model, Task
from imprint_sweep.grid.scheme import Scheme

MODEL = Model(name="toy", weights="none")
"""The model under which :func:`write` stores everything here."""


@dataclass(frozen=True)
class Split:
    """Features (n, d) float32 and labels (n,) int64 of one split, samples of all classes shuffled."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """A named pair of splits."""

    name: str
    train: Split
    test: Split

    @property
    def classes(self) -> tuple[int, ...]:
        """The classes in ascending order, as ``task.classes=all`` lists them."""
        return tuple(int(number) for number in np.unique(self.train.labels))


def blobs(
    name: str = "blobs",
    *,
    train_sizes: Mapping[int, int],
    test_size: int = 12,
    d: int = 16,
    modes: int = 3,
    spread: float = 1.5,
    seed: int = 0,
) -> Dataset:
    """Classes that are mixtures of Gaussians behind a ReLU, as a network's last features are: many exact zeros.

    Args:
        name: of the dataset.
        train_sizes: training samples per class; the keys are the labels.
        test_size: test samples per class.
        d: dimension.
        modes: Gaussians per class.
        spread: how far the modes lie apart, in standard deviations; the less, the more classes overlap.
        seed: of everything.
    """
    rng = np.random.default_rng([seed, d, modes])
    train: list[NDArray[np.float64]] = []
    test: list[NDArray[np.float64]] = []
    for size in train_sizes.values():
        centers = rng.normal(0.3, spread, (modes, d))
        for split, n in ((train, size), (test, test_size)):
            split.append(np.maximum(centers[rng.integers(modes, size=n)] + rng.normal(size=(n, d)), 0))
    numbers = list(train_sizes)
    return Dataset(
        name,
        _shuffled(train, [train_sizes[number] for number in numbers], numbers, rng),
        _shuffled(test, [test_size] * len(numbers), numbers, rng),
    )


def clean() -> Dataset:
    """Three well-populated classes with arbitrary integers as labels; no two samples alike."""
    return blobs("clean", train_sizes={7: 40, -5: 25, 1000: 33})


def uneven(name: str = "uneven", seed: int = 1) -> Dataset:
    """Five classes of 30, 17, 3, 2 and 1 training samples: smaller than k and than the number of shots."""
    return blobs(name, train_sizes={0: 30, 1: 17, 2: 3, 3: 2, 4: 1}, seed=seed)


def degenerate() -> Dataset:
    """Duplicates within a class and across classes, zero vectors, and queries that are training samples."""
    base = blobs("degenerate", train_sizes={2: 24, 3: 24, 5: 12}, seed=2)
    features, labels = base.train.features.copy(), base.train.labels
    two, three, five = (np.flatnonzero(labels == number) for number in (2, 3, 5))
    features[two[:6]] = features[two[6]]
    features[three[:2]] = features[two[7]]
    features[five[:8]] = features[five[8]]
    features[[two[8], three[8], five[9]]] = 0
    test = base.test.features.copy()
    test[0] = 0
    test[1:4] = features[[two[6], three[0], five[9]]]
    return Dataset("degenerate", Split(features, labels), Split(test, base.test.labels))


def digits(n_train: int = 300, n_test: int = 100) -> Dataset:
    """Real data: raw pixels of scikit-learn's digits, d = 64, small integers, hence with many exact ties."""
    pixels, numbers = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(pixels))
    pixels, numbers = pixels[order].astype(np.float32), numbers[order].astype(np.int64)
    return Dataset(
        "pixels",
        Split(pixels[:n_train], numbers[:n_train]),
        Split(pixels[n_train : n_train + n_test], numbers[n_train : n_train + n_test]),
    )


def joined() -> tuple[Dataset, Dataset]:
    """Two datasets with the same classes from different mixtures, to be joined class by class."""
    return uneven("left", seed=3), uneven("right", seed=4)


def write(cache: EmbeddingCache, *datasets: Dataset, limit: int | None = None) -> None:
    """Store datasets in an embedding cache as those of :data:`MODEL`."""
    for dataset in datasets:
        for split, samples in zip(SPLITS, (dataset.train, dataset.test), strict=True):
            key = EntryKey(MODEL, dataset.name, split, limit)
            cache.write(key, samples.features, samples.labels, metadata={"source": "tests/data.py"})


def task(*datasets: Dataset, classes: tuple[int, ...] | None = None, merge: int = 1) -> Task:
    """A task over datasets that share their classes.

    Args:
        datasets: joined class by class.
        classes: which, in which order; all of the first dataset's by default.
        merge: how many consecutive classes make one label.
    """
    numbers = datasets[0].classes if classes is None else classes
    parts: list[Label] = [tuple((dataset.name, number) for dataset in datasets) for number in numbers]
    labels = tuple(
        tuple(part for label in parts[start : start + merge] for part in label)
        for start in range(0, len(parts) - merge + 1, merge)
    )
    return Task(
        name="+".join(dataset.name for dataset in datasets),
        classes="all" if classes is None else str(list(classes)),
        labels=labels,
        merge=merge if merge > 1 else None,
        remap=0 if merge > 1 else None,
    )


def cell(of: Task, **axes: object) -> Cell:
    """A cell of the toy model, with what a scheme needs filled in where it is missing."""
    own = {"gen.features": 40, "gen.ridge": 0.1}  # for the gens that have them
    filled = {"k": 3, "m": 3, "weighting": "inverse_distance", "weight_decay": 0.1, "parameters": own, **axes}
    return Cell(MODEL, of, Scheme.create(**filled))  # type: ignore[arg-type]


def meaningful(cells: Iterable[tuple[Task, Mapping[str, object]]]) -> Iterator[Cell]:
    """The cells of some axes, without the combinations that mean nothing."""
    for of, axes in cells:
        with suppress(InvalidCellError):
            yield cell(of, **axes)


def _shuffled(
    by_class: list[NDArray[np.float64]], sizes: list[int], numbers: list[int], rng: np.random.Generator
) -> Split:
    order = rng.permutation(sum(sizes))
    return Split(
        np.concatenate(by_class)[order].astype(np.float32), np.repeat(np.array(numbers, dtype=np.int64), sizes)[order]
    )
