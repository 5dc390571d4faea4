"""Ids and results stay what they were: see ``record.py``."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from imprint_sweep.grid.cell import Precision
from tests.golden import record

A_TWENTIETH = record.COUNT // 20


def test_ids_stay_what_they_were() -> None:
    for golden in record.load(record.IDS):
        assert (golden.cell.cell_id, golden.cell.computation_id()) == (golden.cell_id, golden.computation_id)


def test_the_recorded_cells_cover_the_grid() -> None:
    recorded = record.load(record.IDS)
    assert len(recorded) == len(record.load(record.RESULTS)) == record.COUNT
    for axis in ("gen", "norm_pre", "norm_post", "norm_inf", "metric", "weighting", "n_shot"):
        values = Counter(getattr(golden.cell.scheme, axis) for golden in recorded)
        assert min(values.values()) >= 30, axis
    assert sum(golden.cell.model.precision != Precision.FLOAT32 for golden in recorded) >= 100


@pytest.mark.slow
def test_results_stay_what_they_were(tmp_path: Path) -> None:
    """A twentieth of the recorded cells; ``python -m tests.golden.record compare`` computes all of them."""
    recorded = random.Random(0).sample(record.load(record.RESULTS), A_TWENTIETH)
    now = list(record.compute([golden.cell for golden in recorded], tmp_path))
    # A network's embeddings depend on the machine, and every result on them.
    comparable = [(was, is_) for was, is_ in zip(recorded, now, strict=True) if was.fingerprint == is_.fingerprint]
    assert len(comparable) >= A_TWENTIETH // 4
    for was, is_ in comparable:
        assert is_ == was
