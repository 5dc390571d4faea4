"""The estimator predicts what cells do: every GEN x NORM x AGG x metric on the embedded default.

    python -m tests.same_as_cells           all of them; more than an hour of CPU time
    python -m tests.same_as_cells 100       so many of them, drawn with a seed
    python -m tests.same_as_cells 100 3     another hundred

The ordinary tests do a twentieth.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from imprint_sweep import engine, telling
from imprint_sweep.api.cells import unfitted
from imprint_sweep.api.samples import features_of, samples_of_cell, settings_of
from imprint_sweep.cli.console import Console
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import InvalidCellError
from imprint_sweep.grid.cell import Cell, Model, Task
from imprint_sweep.grid.outcome import OK
from imprint_sweep.grid.scheme import Scheme
from imprint_sweep.grid.tasks import make_task
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, WEIGHTINGS, ClassScore, Position, norms_at

DEFAULT = Model("efficientnet_lite0", "IMAGENET1K", 112)
DIGITS = make_task("digits", ["digits"], range(10))


def cells(model: Model = DEFAULT, task: Task = DIGITS) -> list[Cell]:
    """Every GEN x NORM x AGG x metric with numbers that differ from cell to cell, in a fixed order.

    One in eight is tested on samples that are held out.
    """
    rng = random.Random(0)
    scoring = [name for name, agg in AGGREGATIONS.items() if isinstance(agg, ClassScore)]
    ballots: list[tuple[str, str, int | None, str | None]] = [
        (agg, metric, None, None) for agg, metric in product(scoring, METRICS)
    ]
    distances = [name for name, metric in METRICS.items() if metric.is_distance]
    ballots += [("mnn", *rest) for rest in product(distances, (1, 5), WEIGHTINGS)]
    norms = product(*(norms_at(position) for position in Position))
    held_out, own = random.Random(1), random.Random(2)

    def drawn() -> dict[str, Any]:
        n_shot = rng.choice([None, None, 1, 10, 50])
        ridge = own.choice(["chosen", 0.1]) if n_shot != 1 else 0.1
        return {
            "n_shot": n_shot,
            "split": "validation" if n_shot != 1 and held_out.random() < 0.15 else "test",
            "parameters": {
                "gen.shrinkage": own.choice([0.1, "oas", "ledoit_wolf"]),
                "gen.priors": own.choice(["equal", "empirical"]),
                "agg.shrinkage": own.choice([1.0, 0.2]),
                "agg.tukey": own.choice([1.0, 0.5]),
                "gen.features": own.choice([100, 1500]),
                "gen.ridge": ridge,
                "gen.c": 1.0 if n_shot == 1 else own.choice(["chosen", 0.1, 10.0]),
            },
        }

    found = []
    for gen, (pre, post, inf), (agg, metric, m, weighting) in product(GENS, norms, ballots):
        for _ in range(5 if GENS[gen].biased else 1):  # most of the grid means nothing under it
            axes = {
                **drawn(), "gen": gen, "k": rng.choice([1, 5, 20]), "seed": rng.choice([0, 1, 17121997, -3]),
                "norm_pre": pre, "norm_post": post, "norm_inf": inf, "agg": agg, "metric": metric, "m": m,
                "weighting": weighting, "weight_decay": 0.1,
            }  # fmt: skip
            with suppress(InvalidCellError):
                found.append(Cell(model, task, Scheme.create(**axes)))
    return found


def differences(of: Sequence[Cell], settings: Settings) -> Iterator[str]:
    """Cells whose correct predictions of a class are not as many as the estimator's.

    Args:
        of: cells of one model and task.
        settings: where the embeddings are; they are made if they are missing.
    """
    features = features_of(of[0].model, of[0].task, settings)
    with telling.counting(len(of), "cell") as count:
        for number, outcome in enumerate(engine.run(of, settings.cache, engine.EngineSettings(threads=2)), 1):
            assert outcome.status == OK, outcome.error
            train, (x, y) = samples_of_cell(features, outcome.cell)
            predicted = unfitted(outcome.cell).fit(*train).predict(x)
            correct = tuple(int(np.sum(predicted[y == label] == label)) for label in y.imprint_keys)
            if correct != outcome.correct:
                yield f"{outcome.cell.scheme.fragment}: the cell has {outcome.correct}, the estimator {correct}"
            count.update(number)


def main(count: str = "", seed: str = "0") -> None:
    """Compare, and print what differs.

    Raises:
        SystemExit: code 1 if anything does.
    """
    chosen = cells()
    chosen = random.Random(int(seed)).sample(chosen, int(count)) if count else chosen
    n_different = 0
    with tempfile.TemporaryDirectory() as outputs, telling.listening(Console()):
        for different in differences(chosen, settings_of(Path(outputs))):
            print(different, flush=True)
            n_different += 1
    print(f"{len(chosen):,} cells, {n_different:,} differ")
    sys.exit(n_different > 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
