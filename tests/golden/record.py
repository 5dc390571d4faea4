"""Records golden ids and results: what cells were called and what they gave when the files beside this were made.

    python -m tests.golden.record ids             # new random cells with their ids
    python -m tests.golden.record results         # new random cells of the embedded default with their results
    python -m tests.golden.record compare         # computes all of the recorded results again and compares them

Recording again is a decision: it gives up the promise that no identity and no number has changed since the last time.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imprint_sweep.config.settings import Settings
from imprint_sweep.grid.cell import Cell, Model, Precision, Task
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.bundled import make_bundled_embeddings
from imprint_sweep.running.work import run_cells
from imprint_sweep.store import load_results

HERE = Path(__file__).parent
IDS, RESULTS = HERE / "ids.jsonl.gz", HERE / "results.jsonl.gz"
COUNT = 1000

EMBEDDED = Model("efficientnet_lite0", "IMAGENET1K", 112)
MODELS = [
    EMBEDDED,
    Model("pixels", "raw"),
    Model("resnet18", "IMAGENET1K_V1"),
    Model("vit_b_16", "IMAGENET1K_V1"),
    Model("swin_b", "IMAGENET1K_V1", 384),
    Model("resnet50", "IMAGENET1K_V1", precision=Precision.BFLOAT16),
    Model("efficientnet_lite1", "IMAGENET1K", 240, Precision.FLOAT16),
    Model("timm/vit_tiny", "größe=1,(a)", 32),
]


@dataclass(frozen=True)
class Golden:
    """A recorded cell.

    Args:
        cell: what was asked for.
        cell_id, computation_id: its ids.
        fingerprint: content of the embeddings; None where only ids were recorded.
        n_correct: its result; None where only ids were recorded.
        f1_macro: likewise.
    """

    cell: Cell
    cell_id: str
    computation_id: str
    fingerprint: str | None = None
    n_correct: int | None = None
    f1_macro: float | None = None


def load(path: Path) -> list[Golden]:
    """The recorded cells of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [_golden(json.loads(line)) for line in lines]


def compute(cells: Sequence[Cell], outputs: Path) -> Iterator[Golden]:
    """The cells as this version computes them, under an empty or used outputs folder."""
    settings = Settings(outputs=outputs, data=outputs / "data")
    plan = Plan.of_cells(cells)
    make_bundled_embeddings(plan, settings)
    run_cells(plan, settings)
    rows: dict[str, Any] = {row["cell_id"]: row for row in load_results(settings.results).to_dict("records")}
    for cell in cells:
        row = rows[cell.cell_id]
        yield Golden(
            cell,
            cell.cell_id,
            row["computation_id"],
            fingerprint=row["fingerprint"],
            n_correct=int(row["n_correct"]),
            f1_macro=float(row["f1_macro"]),
        )


def main(what: str) -> None:
    """Record or compare.

    Raises:
        SystemExit: a result differs, or `what` is unknown.
    """
    if what == "ids":
        rng = random.Random(1)
        cells = _distinct(_cell(rng, rng.choice(MODELS), _task(rng)) for _ in range(2 * COUNT))
        _save(IDS, [Golden(cell, cell.cell_id, cell.computation_id()) for cell in cells])
    elif what == "results":
        rng = random.Random(2)
        cells = _distinct(_cell(rng, rng.choice(MODELS[:2]), _digits(rng)) for _ in range(2 * COUNT))
        with tempfile.TemporaryDirectory() as outputs:
            _save(RESULTS, list(compute(cells, Path(outputs))))
    elif what == "compare":
        recorded = load(RESULTS)
        with tempfile.TemporaryDirectory() as outputs:
            now = list(compute([golden.cell for golden in recorded], Path(outputs)))
        different = [(was, is_) for was, is_ in zip(recorded, now, strict=True) if was != is_]
        other = sum(was.fingerprint != is_.fingerprint for was, is_ in different)
        for was, is_ in different:
            print(f"{was.cell_id}: {was.n_correct} -> {is_.n_correct}  {was.cell.scheme.fragment}")
        print(f"{len(recorded)} cells, {len(different)} differ, {other} of them on other embeddings")
        sys.exit(bool(different))
    else:
        sys.exit(__doc__)


def _distinct(cells: Iterable[Cell]) -> list[Cell]:
    return list({cell.cell_id: cell for cell in cells}.values())[:COUNT]


def _cell(rng: random.Random, model: Model, task: Task) -> Cell:
    agg = rng.choice(["max", "mnn"])
    metrics = ["euclidean", "cosine", "manhattan", "mahalanobis"] + ["inner_product"] * 3 * (agg == "max")
    scheme = Scheme.create(
        gen=rng.choice(
            ["all", "random", "mean", "kmeans", "kmedoids", "cov_max", "fps", "least_squares", "k_least_squares"]
        ),
        k=rng.choice([1, 2, 3, 5, 10, 20, 50]),
        n_shot=rng.choice([None, None, None, 1, 5, 20, 100]),
        norm_pre=rng.choice(["none", "l2"]),
        norm_post=rng.choice(["none", "l2", "quantile"]),
        norm_inf=rng.choice(["none", "l2"]),
        agg=agg,
        metric=rng.choice(metrics),
        m=rng.choice([1, 3, 5, 20, 50]),
        weighting=rng.choice(["inverse_distance", "uniform"]),
        seed=rng.choice([0, 1, 17121997, -3]),
        weight_decay=rng.choice([1e-4, 0.05, 0.1]),
    )
    return Cell(model, task, scheme)


def _digits(rng: random.Random) -> Task:
    merge = rng.choice([None, None, None, 2])
    selections: list[str | list[int]] = ["all", "all", "even", "odd", "short", [3, 1, 7]]
    return make_task(
        "digits",
        ["digits"],
        range(10),
        rng.choice(selections) if merge is None else "all",
        merge=merge,
        remap=None if merge is None else rng.randrange(3),
    )


def _task(rng: random.Random) -> Task:
    kind = rng.choice(["digits", "joined", "merged", "limited", "odd name"])
    if kind == "digits":
        return _digits(rng)
    if kind == "joined":
        return make_task("combi_digits", ["mnist", "mnist_m", "usps", "svhn"], range(10), rng.choice(["all", "even"]))
    if kind == "merged":
        d, remap = rng.randint(1, 10), rng.randrange(10)
        return make_task("imagenet", ["imagenet"], range(1000), sample=100, merge=d, remap=remap)
    if kind == "limited":
        return make_task("cifar10", ["cifar10"], range(10), "short", limit=rng.choice([100, 5000]))
    return make_task("my task, 1", ["a=b (c)", "größe"], [-5, 7, 1000], [1000, -5])


def _save(path: Path, recorded: Sequence[Golden]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(golden), ensure_ascii=False) + "\n" for golden in recorded)
    print(f"{path.name}: {len(recorded)} cells")


def _golden(fields: dict[str, Any]) -> Golden:
    cell = fields.pop("cell")
    labels = tuple(tuple((dataset, value) for dataset, value in label) for label in cell["task"].pop("labels"))
    parameters = tuple((key, value) for key, value in cell["scheme"].pop("parameters", ()))
    scheme = Scheme(**cell["scheme"], parameters=parameters)
    rebuilt = Cell(Model.recorded(**cell["model"]), Task(**cell["task"], labels=labels), scheme)
    return Golden(rebuilt, **fields)


if __name__ == "__main__":
    main(*sys.argv[1:] or ["help"])
