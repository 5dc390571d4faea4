"""The first look: the five methods of the paper's Figure 2 on real digits with a real pre-trained network."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from imprint_sweep.analysis.data import published
from imprint_sweep.cli.app import user_errors
from imprint_sweep.cli.options import parse_options
from imprint_sweep.config.overrides_of import compose
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import SweepError
from imprint_sweep.grid.cell import Cell
from imprint_sweep.invocation import MAIN, outputs_folder, override, place, shell_line
from imprint_sweep.planning.plan import Plan, look_up
from imprint_sweep.running.bundled import make_bundled_embeddings
from imprint_sweep.running.work import known_rows, run_cells
from imprint_sweep.wording import aligned

FIG2 = published.FOLDER / "fig2.yaml"


@dataclass(frozen=True)
class Method:
    """One of the compared configurations.

    Args:
        name: as the paper calls it.
        overrides: its configuration.
        accuracy: the paper's, in percent.
        rank: the paper's average rank.
    """

    name: str
    overrides: list[str]
    accuracy: float
    rank: float


@dataclass(frozen=True)
class Comparison:
    """A figure of the paper as data; see ``imprint_sweep/paper/fig2.yaml``."""

    about: str
    seeds: list[int]
    methods: list[Method]
    pairs: list[Any] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: code 2 if the embeddings cannot be made or a cell fails.
    """
    parser = ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--outputs", metavar="DIR", help="where to write (default: outputs/, as all runs)")
    given = parse_options(parser, arguments)
    with user_errors():
        outputs = outputs_folder(given.outputs)
        _demo(Settings(outputs=outputs, data=outputs / "data"))


def _demo(settings: Settings) -> None:
    start = time.monotonic()
    figure = fig2()
    cells = [_seeded(compose(method.overrides), figure.seeds) for method in figure.methods]
    plan = Plan.of_cells([cell for of_method in cells for cell in of_method])
    model, task = plan.models[0], plan.tasks[0]
    print(f"The five methods of Figure 2 on {task.name} with {model.name} ({model.weights}, {model.image_size} px).")
    if look_up(plan, settings.cache).missing:
        print("Embeddings come first; they are kept.", flush=True)
    make_bundled_embeddings(plan, settings)
    run_cells(plan, settings)

    rows = known_rows(plan, settings)
    if not rows.done.all():
        raise SweepError(f"{int((~rows.done).sum())} of {len(plan)} cells failed; see {settings.results}")
    accuracy = dict(zip(plan.cell_id.tolist(), rows.accuracy.tolist(), strict=True))
    medians = [float(np.median([accuracy[c.cell_id.encode()] for c in of_method])) for of_method in cells]
    print("\n".join(["", *table(figure, medians, task.name), ""]))
    print(f"{len(plan)} cells in {time.monotonic() - start:.0f} s; their rows are in {settings.results}")
    one = [*figure.methods[1].overrides, override("seed", figure.seeds[0]), *place(settings.outputs)]
    print(f"One of them: {shell_line(MAIN, one)}")


def fig2() -> Comparison:
    """Figure 2: which configurations, with the published numbers."""
    loaded = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Comparison), OmegaConf.load(FIG2)))
    assert isinstance(loaded, Comparison)
    return loaded


def table(figure: Comparison, accuracies: Sequence[float], dataset: str) -> list[str]:
    """The methods with our accuracy beside the paper's, best of ours first.

    Args:
        figure: the methods.
        accuracies: ours, a share each, in their order.
        dataset: what ours were measured on.
    """
    order = sorted(range(len(accuracies)), key=lambda i: -accuracies[i])
    rows = [
        (m.name, " ".join(m.overrides), f"{100 * accuracies[i]:.2f} %", f"{m.accuracy:.2f} %", f"{m.rank:.2f}")
        for i in order
        for m in [figure.methods[i]]
    ]
    heads = ("method", "configuration", "accuracy", "accuracy", "rank")
    above, *lines = aligned([("", "", dataset, "", ""), heads, *rows], right={2, 3, 4})
    seeds = f"{dataset}: median over {len(figure.seeds)} seeds; {figure.about}, other networks and data than here."
    return [f"{above}   {figure.about}", *lines, "", seeds]


def _seeded(cell: Cell, seeds: Sequence[int]) -> list[Cell]:
    return [replace(cell, scheme=replace(cell.scheme, seed=seed)) for seed in seeds]


if __name__ == "__main__":
    main()
