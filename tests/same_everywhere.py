"""Results do not depend on the machine: the same bytes and counts under other BLAS kernels, vector units and threads.

    python -m tests.same_everywhere 2000                 n_correct of so many cells of the embedded default
    python -m tests.same_everywhere 2000 1               another two thousand
    python -m tests.same_everywhere ENTRY                bytes of k-means, alone and in batch: a class of embeddings

What goes through LAPACK (least squares, Mahalanobis) is bounded, not equal, and counted apart. The ordinary tests
compare a hundred cells under one other environment.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from imprint_sweep import engine
from imprint_sweep.api.samples import features_of, settings_of
from imprint_sweep.embeddings.cache import open_entry
from imprint_sweep.grid.cell import Cell
from imprint_sweep.imprinting.components import GENS, METRICS, MappedMetric
from imprint_sweep.imprinting.kmeans.batch import batch_kmeans
from tests.same_as_cells import DEFAULT, DIGITS, cells

SIMD = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR AVX2 FMA3 X86_V3 X86_V4"
ENVIRONMENTS: Sequence[Mapping[str, str]] = (
    {},
    {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "2", "NPY_DISABLE_CPU_FEATURES": SIMD},
    {"OPENBLAS_CORETYPE": "Prescott", "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
    {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
)
CLUSTERINGS = [(k, seed) for k in (2, 5, 10, 20, 50) for seed in (0, 1)]


def through_lapack(cell: Cell) -> bool:
    """Whether a decomposition takes part in a cell."""
    return GENS[cell.scheme.gen].joint or isinstance(METRICS[cell.scheme.metric], MappedMetric)


def counts(number: int, seed: int, outputs: Path, threads: int) -> dict[str, str]:
    """Correct predictions of each class, of some cells, by cell id."""
    settings = settings_of(outputs)
    features_of(DEFAULT, DIGITS, settings)
    everything = cells()
    chosen = random.Random(seed).sample(everything, min(number, len(everything)))
    how = engine.EngineSettings(threads=threads)
    return {
        f"{'LAPACK ' if through_lapack(one.cell) else ''}{one.cell.cell_id}": str(one.correct)
        for one in engine.run(chosen, settings.cache, how)
    }


def clusterings(entry: Path) -> dict[str, str]:
    """Digests of the clusterings of a class, alone and in batch, with one thread and with two."""
    content = open_entry(entry)
    x = np.array(content.features[content.labels == content.labels[0]])
    found = {}
    for threads in (1, 2):
        with threadpool_limits(threads):
            batch = batch_kmeans(x, CLUSTERINGS)
            alone = [batch_kmeans(x, [one])[0] for one in CLUSTERINGS]
        for one, *fits in zip(CLUSTERINGS, batch, alone, strict=True):
            digests = {hashlib.sha256(fit.centers.tobytes() + fit.assignment.tobytes()).hexdigest() for fit in fits}
            found[f"{one}, {threads} threads"] = " ".join(sorted(digests))
    by_fit = [{found[f"{one}, {threads} threads"] for threads in (1, 2)} for one in CLUSTERINGS]
    assert all(len(digests) == 1 and " " not in next(iter(digests)) for digests in by_fit), found
    return found


def differences(
    arguments: Sequence[str], folder: Path, environments: Sequence[Mapping[str, str]] = ENVIRONMENTS
) -> tuple[int, list[str]]:
    """How many results were compared, and the names of those that differ in some environment.

    Args:
        arguments: of the command.
        folder: for embeddings, and for the code that is compiled for another CPU.
        environments: variables of each process; the first is what the others are compared with.
    """
    found: list[dict[str, str]] = []
    for number, variables in enumerate(environments):
        environment = {**os.environ, **variables}
        if "NUMBA_CPU_NAME" in variables:
            environment["NUMBA_CACHE_DIR"] = str(folder / str(number))
        # NumPy warns of features that it never had.
        command = [sys.executable, "-W", "ignore", "-m", "tests.same_everywhere", *arguments]
        environment["SAME_EVERYWHERE"] = json.dumps([str(folder), 1 + number % 2])
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        found.append(json.loads(ran.stdout))
    names = found[0].keys()
    return len(names), [name for name in names if len({results.get(name) for results in found}) > 1]


def main(what: str, seed: str = "0") -> None:
    """Compare, and print what differs; or, in a process that is compared, print results.

    Raises:
        SystemExit: code 1 if anything differs that does not go through LAPACK.
    """
    if given := os.environ.get("SAME_EVERYWHERE"):
        folder, threads = json.loads(given)
        results = counts(int(what), int(seed), Path(folder), threads) if what.isdigit() else clusterings(Path(what))
        print(json.dumps(results))
        return
    with tempfile.TemporaryDirectory() as outputs:
        n, different = differences([what, seed], Path(outputs))
    equal = [name for name in different if not name.startswith("LAPACK")]
    print(
        *equal, f"{n:,} compared, {len(equal):,} differ, {len(different) - len(equal):,} more through LAPACK", sep="\n"
    )
    sys.exit(bool(equal))


if __name__ == "__main__":
    main(*sys.argv[1:])
