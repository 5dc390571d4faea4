"""Results tables that no network was run for: the cells of real experiment files, with made-up but plausible numbers.

Rows go through the store's own writer. Accuracies are effects of model, dataset and configuration, and noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from imprint_sweep.analysis.data.results import MODEL, TASK
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.grid.cell import METHOD_VERSION, Model, Task, spelled
from imprint_sweep.grid.hashing import digest
from imprint_sweep.grid.outcome import Outcome
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.planning.plan import Plan
from imprint_sweep.store import Provenance, ResultStore, compact
from tests.sweeping import requested, tree_of

TEST_SAMPLES_PER_CLASS = 1_000

_MODEL = {"resnet18": -0.4, "resnet50": -0.1, "vit_b_16": 0.4, "swin_b": 0.5}
_DATASET = {"mnist": 1.0, "cifar10": 0.6, "usps": 0.8, "svhn": -1.5, "mnist_m": -0.8, "combi_digits": -1.0}
_GEN = {"k_least_squares": 1.3, "least_squares": 1.2, "all": 0.9, "mean": 0.2, "random": -0.6, "fps": -0.8}
_EFFECTS: dict[str, dict[object, float]] = {
    "norm_post": {"l2": 0.5, "none": -0.2},
    "metric": {"cosine": 0.05, "manhattan": -0.1, "mahalanobis": -0.3},
    "m": {3: 0.05, 5: 0.03, 20: -0.2, 50: -0.5},
    "weighting": {"inverse_distance": 0.02},
}


def write(outputs: Path, plan: Plan) -> int:
    """Write a row for every cell of a plan under ``<outputs>/results``, in one file.

    Returns:
        How many rows the table has.
    """
    store = ResultStore(outputs / "results")
    with store.writer(Provenance.here("made-up"), seconds=np.inf) as writer:
        for outcome in outcomes(plan):
            writer.add(outcome)
    return compact(store.root).rows_after


def write_collapse(outputs: Path, plan: Plan) -> None:
    """Write NC1 for every model and task of a plan, as `scripts/collapse.py` keeps it: the more modes, the higher."""
    rng = np.random.default_rng(0)
    rows = []
    for pair in np.unique(plan.pair).tolist():
        model, task = plan.models[pair // len(plan.tasks)], plan.tasks[pair % len(plan.tasks)]
        nc1 = (task.merge or len(task.datasets) / (2 + _task(task))) * rng.uniform(0.8, 1.25)
        rows.append(
            {
                **dict(zip(MODEL, (model.name, model.weights, model.image_size, model.precision), strict=True)),
                **dict(zip(TASK, (task.name, task.classes, task.merge, task.remap, task.limit), strict=True)),
                "labels": [spelled(label) for label in task.labels],
                "fingerprint": _fingerprint(model, task),
                "method_version": METHOD_VERSION,
                "nc1": nc1,
                "nc1_published": 1.1 * nc1,
                "rank": len(task.labels) - 1,
                "n_samples": 600 * len(task.labels),
            }
        )
    path = collapse_table.path(outputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def grid(rows: int) -> Plan:
    """The cells of ``paper``, and whole configurations of ``full`` until there are so many cells."""
    tree = tree_of()
    paper = Plan.of(requested(tree, "+experiment=paper"))
    both = Plan.of(requested(tree, "+experiment=[paper,full]"))
    known = np.isin(both.cell_id, paper.cell_id)
    # Cells at random would leave no comparison complete.
    order = np.lexsort((both.scheme, ~known))
    return both[np.sort(order[: max(rows, len(paper))])]


def outcomes(plan: Plan) -> Iterator[Outcome]:
    """A good outcome with made-up numbers for every cell; the same ones where cells are equal by construction."""
    rng = np.random.default_rng(len(plan))
    distinct, first, code = np.unique(plan.computation, return_index=True, return_inverse=True)
    n_test = np.array([_n_test(task) for task in plan.tasks])[plan.task]
    model = np.array([_MODEL.get(model.name, 0.0) for model in plan.models])[plan.model]
    task = np.array([_task(task) for task in plan.tasks])[plan.task]
    scheme = np.array([_scheme(scheme) for scheme in plan.schemes])[plan.scheme]
    logit = (1.4 + model + task + scheme)[first] + rng.normal(0, 0.08, len(distinct))
    n_correct: NDArray[np.int64] = np.rint(n_test / (1 + np.exp(-logit[code]))).astype(np.int64)
    seconds = np.array([0.003 if s.gen == "mean" else 0.05 * (s.k or 1) for s in plan.schemes])[plan.scheme]
    seconds = seconds * rng.uniform(0.8, 1.2, len(plan))
    for position in range(len(plan)):
        cell, n = plan.cell(position), len(plan.tasks[plan.task[position]].labels)
        accuracy = float(n_correct[position] / n_test[position])
        yield Outcome(
            cell=cell,
            computation_id=f"{code[position]:020x}",
            fingerprint=_fingerprint(cell.model, cell.task),
            n_correct=int(n_correct[position]),
            n_test=int(n_test[position]),
            f1=(accuracy,) * n,
            f1_macro=accuracy,
            f1_weighted=accuracy,
            n_proxies=n * (cell.scheme.k or 1),
            gen_seconds=float(seconds[position]),
            eval_seconds=0.01,
        )


def _fingerprint(model: Model, task: Task) -> str:
    return digest(model.fragment, *task.datasets)


def _n_test(task: Task) -> int:
    return TEST_SAMPLES_PER_CLASS * sum(map(len, task.labels))


def _task(task: Task) -> float:
    return _DATASET.get(task.name, 0.0) + {"all": 0.0, "even": 0.3, "odd": 0.2, "short": 0.7}.get(task.classes, 0.0)


def _scheme(scheme: Scheme) -> float:
    effect = _GEN.get(scheme.gen, 0.0) + 0.3 * np.log(scheme.k or 1)
    effect -= 0.0 if scheme.n_shot is None else 2 / scheme.n_shot
    for axis, effects in _EFFECTS.items():
        effect += effects.get(getattr(scheme, axis), 0.0)
    return float(effect)
