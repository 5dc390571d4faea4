"""The overrides that describe a cell: the way back from a result to the command that gives it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException

from imprint_sweep.config.component_options import offer
from imprint_sweep.config.overrides import for_hydra
from imprint_sweep.config.reading import cell_from_config
from imprint_sweep.embeddings.cache import IMPORTED
from imprint_sweep.errors import ImprintError, StoreError
from imprint_sweep.grid.axes import parameter_column
from imprint_sweep.grid.cell import Cell, Model, Task, parsed
from imprint_sweep.grid.scheme import FIELDS, Scheme, parameters_of
from imprint_sweep.grid.tasks import SELECTIONS
from imprint_sweep.imprinting.components import GENS
from imprint_sweep.invocation import conf_folder, default_outputs

_PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
_WORDS = {"null", "true", "false", "nan", "inf", "yes", "no", "on", "off"}


def compose(overrides: Sequence[str]) -> Cell:
    """The cell that overrides describe, by the same way as on the command line.

    Raises:
        ImprintError, HydraException: they describe none.
    """
    offer()
    with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return cell_from_config(hydra.compose("config", list(map(for_hydra, overrides))))


def cell_of(row: Mapping[str, Any]) -> Cell:
    """The cell that a row of the results table is about.

    Args:
        row: column -> value, as :func:`imprint_sweep.store.table_schema` has them; nulls are None.

    Raises:
        StoreError: the columns do not give the row's own cell id, or its gen is not here.
    """
    if row["gen"] not in GENS:
        raise StoreError(f"row {row['cell_id']} is of a gen that is not here: {GENS.unknown(row['gen'])}")
    own = {key: (row.get(parameter_column(key)), parameter) for key, parameter in parameters_of(row["gen"]).items()}
    # Rows of the time before a parameter was there are null; what they computed is its neutral value.
    parameters = sorted((key, parameter.neutral if value is None else value) for key, (value, parameter) in own.items())
    cell = Cell(
        Model(row["model"], row["weights"], row["image_size"]),
        Task(
            row["task"],
            row["classes"],
            tuple(parsed(text) for text in row["labels"]),
            merge=row["merge"],
            remap=row["remap"],
            limit=row["limit"],
        ),
        Scheme(**{name: row[name] for name in FIELDS}, parameters=tuple(parameters)),
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
        StoreError: no option of this configuration leads to the cell: a model or task of the user's own.
    """
    place = [] if outputs in (None, default_outputs()) else [f"paths.outputs={spelled(str(outputs))}"]
    fixed = [*scheme_overrides(cell.scheme), *([] if cell.task.limit is None else [f"limit={cell.task.limit}"]), *place]
    problem: Exception | None = None
    for task in (_task(cell), [*_task(cell), *_listed(cell.task)]):
        overrides = [*_model(cell), *task, *fixed]
        try:
            if compose(overrides).cell_id == cell.cell_id:
                return overrides
        except (ImprintError, HydraException) as error:
            problem = error
    raise StoreError(
        f"no option of the configuration gives cell {cell.cell_id} ({cell.model.name} on {cell.task.name})"
        + (f": {str(problem).splitlines()[0]}" if problem else "")
        + "; a model, task or gen of your own needs its folder, --config-dir=DIR"
    )


def command_line(overrides: Sequence[str]) -> str:
    """The main command with some overrides, for a shell."""
    return shlex.join(["python", "-m", "imprint_sweep", *overrides])


def _model(cell: Cell) -> list[str]:
    model = cell.model
    words = [f"model={IMPORTED}", f"model.name={spelled(model.name)}"]
    if model.weights != IMPORTED:
        # Every model of the timm library is an option of its own name, within the group's option timm.
        library, _, rest = model.name.partition("/")
        words = [f"model={library}", *([f"model.name={spelled(model.name)}"] if rest else [])]
    words += [f"model.weights={spelled(model.weights)}"]
    words += [f"model.image_size={'null' if model.image_size is None else model.image_size}"]
    decay = cell.scheme.weight_decay
    return words if decay is None else [*words, f"model.weight_decay={decay!r}"]


def _task(cell: Cell) -> list[str]:
    task = cell.task
    if (conf_folder() / "task" / f"{task.name}.yaml").is_file():
        words = [f"task={task.name}"]
    else:
        option = IMPORTED if cell.model.weights == IMPORTED else "image_folder"
        words = [f"task={option}", f"task.name={spelled(task.name)}"]
        if task.datasets != (task.name,):
            words += [f"task.datasets=[{','.join(map(spelled, task.datasets))}]"]
    classes = task.classes if task.classes in SELECTIONS else f"[{task.classes}]"
    words += [f"task.classes={classes}"]
    return words if task.merge is None else [*words, f"task.merge={task.merge}", f"task.remap={task.remap}"]


def _listed(task: Task) -> list[str]:
    """The same with all that the option says of its classes spelled out."""
    if task.merge is not None:
        return ["task.sample=null"]
    numbers = [label[0][1] for label in task.labels]
    return [
        f"task.datasets=[{','.join(map(spelled, task.datasets))}]",
        f"task.labels=[{','.join(map(str, sorted(numbers)))}]",
        "task.sample=null",
        f"task.classes=[{','.join(map(str, numbers))}]",
    ]


def scheme_overrides(scheme: Scheme) -> list[str]:
    """The overrides of all axes but the model and the task."""
    words = [f"gen={spelled(scheme.gen)}"]
    words += [f"{key}={spelled(value) if isinstance(value, str) else value!r}" for key, value in scheme.parameters]
    words += [] if scheme.k is None else [f"k={scheme.k}"]
    words += [f"norm.pre={scheme.norm_pre}", f"norm.post={scheme.norm_post}", f"norm.inf={scheme.norm_inf}"]
    words += [f"agg={scheme.agg}", f"agg.metric={scheme.metric}"]
    words += [] if scheme.m is None else [f"agg.m={scheme.m}"]
    words += [] if scheme.weighting is None else [f"agg.weighting={scheme.weighting}"]
    words += [] if scheme.n_shot is None else [f"n_shot={scheme.n_shot}"]
    return [*words, f"seed={scheme.seed}"]


def spelled(name: str) -> str:
    """A text as Hydra's grammar reads it back."""
    if _PLAIN.fullmatch(name) and name.lower() not in _WORDS:
        return name
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), name)
    return f"'{escaped}'"
