"""How a command line asks for a model, a task and a scheme: the overrides that printed commands are made of.

What an option of the configuration says already is left out. A model or task that is no option, as it was one in a
``--config-dir`` or is a folder of images or a table of texts, is asked for by what it is made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imprint_sweep.errors import InvalidCellError
from imprint_sweep.grid.axes import of_part
from imprint_sweep.grid.cell import Cell, Model, Precision, Task
from imprint_sweep.grid.scheme import Scheme, parameters_of
from imprint_sweep.grid.tasks import SELECTIONS, make_task
from imprint_sweep.invocation import OverrideValue, conf_folder, override

IMPORTED = "imported"
"""The ``weights`` of embeddings that this project did not compute, and the options that read any embeddings."""

FOLDER = "image_folder"
"""The option of a task on a folder of images."""

TABLE = "text_table"
"""The option of a task on a table of texts."""

TEXT_MODELS = ("minilm",)
"""The models that embed texts."""

TIMM = "timm"
"""The option of all models of the timm library, whose names begin with it."""

Chosen = dict[str, OverrideValue]
"""Key -> value of overrides, in the order in which they are written."""

Classes = Callable[[Sequence[str]], Sequence[int] | None]
"""The classes that the embeddings of datasets have, None where nobody knows."""


def unknown(datasets: Sequence[str]) -> None:
    """The :data:`Classes` of one who cannot tell."""


def overrides(chosen: Mapping[str, OverrideValue]) -> list[str]:
    """The overrides, written."""
    return [override(key, value) for key, value in chosen.items()]


def chosen_cell(cell: Cell, classes: Classes = unknown) -> Chosen:
    """The overrides of a cell.

    Args:
        cell: which.
        classes: of the embeddings of its model.
    """
    model = chosen_model(cell.model, cell.scheme.weight_decay)
    return {**model, **chosen_task(cell.task, cell.model, classes), **chosen_scheme(cell.scheme)}


def is_option(group: str, name: str) -> bool:
    """Whether a model or a task is an option of the configuration by its own name."""
    return bool(_options(group).get(name, {}).get("name") == name)


def chosen_network(model: Model) -> Chosen:
    """The overrides of a model whose embeddings are to be computed: only an option of its own name knows how."""
    chosen = chosen_model(model)
    if chosen["model"] != IMPORTED:
        return chosen
    chosen = {"model": model.name, "model.weights": model.weights, "model.image_size": model.image_size}
    return chosen if model.precision == Precision.FLOAT32 else {**chosen, "model.precision": model.precision}


def chosen_model(model: Model, weight_decay: float | None = None) -> Chosen:
    """The overrides of a model.

    Args:
        model: which.
        weight_decay: lambda of the least-squares gens, where it matters.
    """
    option = _model_option(model)
    there = _options("model")[option]
    own = _made_of(model) | ({} if weight_decay is None else {"weight_decay": weight_decay})
    differing = {key: value for key, value in own.items() if key not in there or there[key] != value}
    return {"model": option, **{f"model.{key}": value for key, value in differing.items()}}


def chosen_dataset(dataset: str, model: Model | None = None, *, computed: bool = True) -> Chosen:
    """The overrides of a task that reads one dataset.

    Args:
        dataset: its name.
        model: which embeds it; it says what files of the user's hold. None where the dataset is an option.
        computed: its embeddings are computed here, not imported.
    """
    if computed and is_option("task", dataset):
        return {"task": dataset}
    of_own_files = TABLE if model is not None and model.name in TEXT_MODELS else FOLDER
    return {"task": of_own_files if computed else IMPORTED, "task.name": dataset}


def chosen_whole(name: str, datasets: Sequence[str], model: Model) -> Chosen:
    """The overrides of a task that leave open which of its classes and samples count.

    Args:
        name: of the task.
        datasets: which it reads; empty for those of its name.
        model: whose embeddings.
    """
    if is_option("task", name) and (not datasets or list(datasets) == _options("task")[name].get("datasets")):
        return {"task": name}
    # A task of somebody's own reads what is cached under other names, as imported tasks do.
    own = bool(datasets) and list(datasets) != [name]
    computed = model.weights != IMPORTED and not own and not is_option("task", name)
    chosen = chosen_dataset(name, model, computed=computed)
    return {**chosen, "task.datasets": list(datasets)} if own else chosen


def chosen_task(task: Task, model: Model, classes: Classes = unknown, *, by_name: bool = False) -> Chosen:
    """The overrides of a task.

    Args:
        task: which.
        model: whose embeddings.
        classes: of these embeddings.
        by_name: the names of task and classes say all, as its labels are not known.
    """
    chosen = chosen_whole(task.name, () if by_name else task.datasets, model)
    option = _options("task")[str(chosen["task"])]
    there, sample = _labels(option), option.get("sample")
    if there is None and not by_name:
        there = classes(task.datasets)
    selection: OverrideValue = task.classes
    if task.classes not in SELECTIONS:
        selection = [int(number) for number in re.findall(r"-?\d+", task.classes)]
    if not by_name and not _gives(task, there, selection, sample):
        # Of a merged task the classes that no label has are not known.
        parts = [number for dataset, number in (part for label in task.labels for part in label)
                 if dataset == task.datasets[0]]  # fmt: skip
        listed = sorted(parts)
        if task.merge is None:
            selection = parts
        if task.merge is None or _gives(task, listed, selection, None):
            chosen |= {"task.labels": listed, **({} if sample is None else {"task.sample": None})}
    chosen["task.classes"] = selection
    if task.merge is not None:
        chosen |= {"task.merge": task.merge, "task.remap": task.remap}
    return chosen if task.limit is None else {**chosen, "limit": task.limit}


def chosen_scheme(scheme: Scheme) -> Chosen:
    """The overrides of all axes but the model and the task; values that go without saying are left out."""
    axes = [axis for axis in of_part("scheme") if not axis.name.startswith("model.")]  # those come with the model
    chosen: Chosen = {axis.name: getattr(scheme, axis.field) for axis in axes}
    neutral: Chosen = {axis.name: axis.neutral for axis in axes}
    neutral |= {key: parameter.neutral for key, parameter in parameters_of(vars(scheme)).items()}
    chosen |= dict(scheme.parameters)
    k: Chosen = {} if scheme.select_rule is None else {"k": None}  # the configuration has one
    return k | {key: value for key, value in chosen.items() if value is not None and value != neutral.get(key)}


def _made_of(model: Model) -> Chosen:
    """What an option holds that is this model."""
    axes = {axis.name.removeprefix("model."): getattr(model, axis.field) for axis in of_part("model")}
    return {"name": axes.pop("model"), **axes}


def _model_option(model: Model) -> str:
    if model.weights == IMPORTED:
        return IMPORTED
    if is_option("model", model.name):
        return model.name
    # Every model of the timm library is an option of its own name, within the group's option timm.
    return TIMM if model.name.startswith(f"{TIMM}/") else IMPORTED


def _labels(option: Mapping[str, Any]) -> Sequence[int] | None:
    """The classes that the option of a task lists, None if it does not."""
    labels = option.get("labels")
    if isinstance(labels, int):
        return range(labels)
    return labels if isinstance(labels, list) else None


def _gives(task: Task, labels: Sequence[int] | None, selection: Any, sample: int | None) -> bool:
    """Whether these settings give this task."""
    if labels is None:
        return False
    try:
        made = make_task(task.name, task.datasets, labels, selection, sample=sample, merge=task.merge, remap=task.remap)
    except InvalidCellError:
        return False
    return made.labels == task.labels


@cache
def _options(group: str) -> dict[str, dict[str, Any]]:
    """What the options of a group hold, by their names; those in folders of users are not known."""
    folder = conf_folder() / group
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        try:
            content = OmegaConf.to_container(OmegaConf.load(path))
        except (OSError, ValueError, OmegaConfBaseException):
            continue
        if isinstance(content, dict):
            found[path.relative_to(folder).with_suffix("").as_posix()] = {str(key): of for key, of in content.items()}
    return found
