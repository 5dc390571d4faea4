"""The overrides that describe a cell: the way back from a result to the command that gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException

from imprint_sweep.config.component_options import offer
from imprint_sweep.config.composing import project_configuration
from imprint_sweep.config.overrides import for_hydra
from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import ImprintError, StoreError
from imprint_sweep.grid.axes import parameter_column
from imprint_sweep.grid.cell import Cell, Model, Task, parsed
from imprint_sweep.grid.choosing import chosen_cell, overrides
from imprint_sweep.grid.scheme import FIELDS, NEUTRAL, Scheme, parameters_of
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.invocation import default_outputs, place


def compose(words: Sequence[str]) -> Cell:
    """The cell that a command line describes, by the same way as on the command line.

    Raises:
        ImprintError, HydraException: they describe none.
    """
    offer()
    with project_configuration():
        return cell_from_config(hydra.compose("config", list(map(for_hydra, words))))


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell that a row of the results table is about.

    Args:
        row: column -> value, as :func:`imprint_sweep.store.table_schema` has them; nulls are None.

    Raises:
        StoreError: the columns do not give the row's own cell id, or its gen is not here.
    """
    if row["gen"] not in GENS:
        raise StoreError(f"row {row['cell_id']} is of a gen that is not here: {GENS.unknown(row['gen'])}")
    own = {key: (row.get(parameter_column(key)), parameter) for key, parameter in parameters_of(row).items()}
    # Rows of the time before a parameter or an axis was there are null; what they computed is its neutral value.
    parameters = sorted(
        (key, parameter.neutral if value is None else parameter.read(value)) for key, (value, parameter) in own.items()
    )
    axes = {name: row[name] for name in FIELDS} | {name: row.get(name) or value for name, value in NEUTRAL.items()}
    cell = Cell(
        Model.recorded(row["model"], row["weights"], row["image_size"], row["precision"]),
        Task(
            row["task"],
            row["classes"],
            tuple(parsed(text) for text in row["labels"]),
            merge=row["merge"],
            remap=row["remap"],
            limit=row["limit"],
        ),
        Scheme(**axes, parameters=tuple(parameters)),
    )
    if cell.cell_id != row["cell_id"]:
        raise StoreError(
            f"the columns of row {row['cell_id']} describe cell {cell.cell_id}: a dataset with '+' in its name, or "
            "another version's table"
        )
    return cell


def overrides_of(cell: Cell, outputs: Path | None = None) -> list[str]:
    """Overrides under which the main command computes a cell.

    Args:
        cell: which.
        outputs: the folder of all that runs write, where it is not the default.

    Raises:
        StoreError: no overrides of this configuration lead to the cell.
    """
    cache = EmbeddingCache((outputs or default_outputs()) / "embeddings")
    chosen = chosen_cell(cell, lambda datasets: cache.classes(cell.model, datasets, cell.task.limit))
    words = [*overrides(chosen), *place(outputs)]
    try:
        found = compose(words)
    except (ImprintError, HydraException) as error:
        raise _unreachable(cell, f": {str(error).splitlines()[0]}") from error
    if found.cell_id != cell.cell_id:
        raise _unreachable(cell)
    return words


def _unreachable(cell: Cell, why: str = "") -> StoreError:
    return StoreError(
        f"no option of the configuration gives cell {cell.cell_id} ({cell.model.name} on {cell.task.name}){why}; a "
        "component or task of your own needs its folder, --config-dir=DIR"
    )
