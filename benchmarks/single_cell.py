"""How long the default cell takes on imported embeddings of 60,000 x 1280 for training and 10,000 x 1280 for testing.

Run from a checkout::

    python benchmarks/single_cell.py

The embeddings are random class mixtures behind a ReLU, 20 modes a class, that overlap. They are imported, and the cell
is computed twice, by the public commands: under 15 s of wall time, under 2 GB of peak memory, and with the same result
both times. Everything is written to a temporary folder (about 1 GB).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imprint_sweep.store.parts import read_parts
from measuring import missed, run

TRAIN, TEST, DIM = 60_000, 10_000, 1280
CLASSES, MODES = 10, 20
SPREAD = 0.12
"""Of the modes, in standard deviations of a sample: so little that the classes overlap."""
SECONDS, GIGABYTES = 15.0, 2.0


def main() -> None:
    """Run the benchmark and print its figures; exit code 1 if a bar is missed."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="imprint-benchmark-") as folder:
        reached = measure(Path(folder))
    sys.exit(0 if reached else 1)


def measure(folder: Path) -> bool:
    """Import and compute in a folder; returns whether every bar is reached."""
    write_mixtures(folder)
    files = ["--train", str(folder / "train.npz"), "--test", str(folder / "test.npz")]
    words = ["scripts/import_embeddings.py", "--model", "mixtures", "--dataset", "mixtures", *files]
    took = run([*words, "--outputs", str(folder)])
    print(f"import: {took.seconds:.1f} s, peak {took.gigabytes:.2f} GB")
    for file in folder.glob("*.npz"):
        file.unlink()

    cell = ["-m", "imprint_sweep", "model=imported", "model.name=mixtures", "task=imported", "task.name=mixtures"]
    n_missed = 0
    for time_of_it in ("first", "again"):
        took = run([*cell, f"paths.outputs={folder}", "force=true"])
        n_missed += missed(f"default cell, {time_of_it}, seconds", took.seconds, SECONDS)
        n_missed += missed(f"default cell, {time_of_it}, GB", took.gigabytes, GIGABYTES)
    results = read_parts(folder / "results").table["n_correct"].to_pylist()
    same = len(results) == 2 and len(set(results)) == 1
    print(f"n_correct: {' and '.join(map(str, results))} ({'equal' if same else 'DIFFERENT'})")
    return same and not n_missed


def write_mixtures(folder: Path) -> None:
    """Write ``train.npz`` and ``test.npz``: arrays "embeddings" (n, d) float32 and "labels" (n,)."""
    rng = np.random.default_rng(0)
    centers = rng.normal(0.3, SPREAD, (CLASSES, MODES, DIM)).astype(np.float32)
    for name, n in (("train", TRAIN), ("test", TEST)):
        labels = rng.integers(CLASSES, size=n)
        embeddings = mixture(centers, labels, rng)
        np.savez(folder / f"{name}.npz", embeddings=embeddings, labels=labels)


def mixture(centers: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Samples around random centers of their classes, clipped at zero; (n, d) float32."""
    samples = rng.standard_normal((len(labels), centers.shape[2]), dtype=np.float32)
    samples += centers[labels, rng.integers(centers.shape[1], size=len(labels))]
    return np.maximum(samples, 0, out=samples)


if __name__ == "__main__":
    main()
