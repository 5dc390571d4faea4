"""Results tables made by hand: cells, and what each of them is to have scored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from imprint_sweep.analysis.data import results
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import MAIN_SEEDS
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.store import Provenance, ResultStore

FINGERPRINT = "f" * 20
N_TEST = 1000
HERE = Provenance("1.0.0", None, "host")

RESNET18 = Model("resnet18", "IMAGENET1K_V1")
LITE0 = Model("efficientnet_lite0", "IMAGENET1K", 112)
L2 = {"norm_pre": "l2", "norm_post": "l2", "norm_inf": "l2"}

Score = tuple[Cell, int]
"""A cell, and how many of :data:`N_TEST` it has right."""


def task(name: str, classes: str = "all", *, merge: int | None = None, remap: int | None = None) -> Task:
    """A task on a dataset of ten classes; ``imagenet`` has a hundred."""
    return make_task(name, [name], range(100 if name == "imagenet" else 10), classes, merge=merge, remap=remap)


def cell(model: Model, of: Task, **axes: object) -> Cell:
    """A cell, with what a scheme needs filled in where it is missing."""
    return Cell(model, of, Scheme.create(**{"k": 3, "weight_decay": 0.1, **axes}))  # type: ignore[arg-type]


def same(score: int, seeds: tuple[int, ...] = MAIN_SEEDS) -> dict[int, int]:
    """One score under every seed."""
    return dict.fromkeys(seeds, score)


def scores(model: Model, of: Task, by_seed: dict[int, int], **axes: object) -> list[Score]:
    """One configuration under several seeds, with what it scores under each."""
    return [(cell(model, of, seed=seed, **axes), score) for seed, score in by_seed.items()]


def write(
    outputs: Path, scores: Iterable[Score], fingerprint: str = FINGERPRINT, n_proxies: int | None = None
) -> Results:
    """Add rows to the table under a folder and read all of it as the analysis does.

    Args:
        outputs: the folder.
        scores: the rows.
        fingerprint: of the embeddings.
        n_proxies: of each row.
    """
    with ResultStore(outputs / "results").writer(HERE) as writer:
        for of, n_correct in scores:
            counts = {"n_correct": n_correct, "n_test": N_TEST, "n_proxies": n_proxies}
            writer.add(Outcome(of, of.computation_id(), fingerprint, **counts))  # type: ignore[arg-type]
    return results.load(outputs)
