"""Results tables made by hand: cells, and what each of them is to have scored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imprint_sweep.analysis import results
from imprint_sweep.analysis.results import Results
from imprint_sweep.cell import Cell
from imprint_sweep.outcome import Outcome
from imprint_sweep.store import Provenance, ResultStore

FINGERPRINT = "f" * 20
N_TEST = 1000
HERE = Provenance("1.0.0", None, "host")


def write(outputs: Path, scores: Iterable[tuple[Cell, int]], fingerprint: str = FINGERPRINT) -> Results:
    """Add rows to the table under a folder and read all of it as the analysis does.

    Args:
        outputs: the folder.
        scores: cells, and how many of :data:`N_TEST` each has right.
        fingerprint: of the embeddings.
    """
    with ResultStore(outputs / "results").writer(HERE) as writer:
        for cell, n_correct in scores:
            writer.add(Outcome(cell, cell.cell_id, fingerprint, n_correct=n_correct, n_test=N_TEST))
    return results.load(outputs)
