"""Embeddings as the arrays that scikit-learn takes."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
from hydra.errors import HydraException
from numpy.typing import NDArray

from imprint_sweep.config.messages import explanation
from imprint_sweep.config.overrides_of import compose
from imprint_sweep.config.settings import Settings
from imprint_sweep.embeddings.cache import READS, SPLITS, EntryKey, Split
from imprint_sweep.embeddings.features import Features
from imprint_sweep.engine import draws
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.grid.cell import Cell, Label, Model, Task, spelled
from imprint_sweep.grid.keys import Draw
from imprint_sweep.grid.scheme import TEST, EvalSplit
from imprint_sweep.imprinting.keyed_labels import KeyedLabels
from imprint_sweep.invocation import outputs_folder, override
from imprint_sweep.running.bundled import is_bundled, make_bundled_entries

Samples = tuple[NDArray[np.float32], KeyedLabels]


def load_embeddings(
    model: str | Model,
    task: str | Task,
    split: Split = "train",
    *,
    overrides: Sequence[str] = (),
    outputs: str | PathLike[str] | None = None,
) -> Samples:
    """The embeddings of a task and their labels.

    What ships inside packages is embedded if the cache lacks it; everything else has to be in the cache.

    Args:
        model: an option of the configuration's group `model`, such as ``"efficientnet_lite0"``, or a model.
        task: an option of the group `task`, such as ``"digits"``, or a task.
        split: train or test.
        overrides: as on the command line, such as ``["task.classes=even", "limit=100"]``, or ``["model.name=mynet",
            "task.name=mydata"]`` for what was imported.
        outputs: the `paths.outputs` of the runs; None is theirs.

    Returns:
        X (n, d) float32 and y (n,), label after label in the order of the task. y are the numbers of the classes, or
        texts such as ``mnist:1+svhn:1`` where a label unites several. y carries the (dataset, class) parts of each
        label, so that an :class:`~imprint_sweep.api.imprinter.Imprinter` draws as a cell does.

    Raises:
        ConfigError: no such model or task, or an override that means nothing.
        EmbeddingsError: the embeddings are missing or damaged.
    """
    if split not in SPLITS:
        raise UnknownOptionError("split", split, SPLITS)
    if isinstance(overrides, str) or not all(isinstance(word, str) for word in overrides):
        raise ConfigError(f"overrides: expected a list such as ['limit=100'], got {overrides!r}")
    settings = settings_of(outputs)
    words = [*_choice("model", model, Model), *_choice("task", task, Task)]
    if words:
        cell = composed([*words, *overrides], settings)
    model = model if isinstance(model, Model) else cell.model
    task = task if isinstance(task, Task) else cell.task
    return samples(features_of(model, task, settings), task, split)


def _choice(group: str, value: object, kind: type) -> list[str]:
    """The override that chooses an option, none for what is its value already."""
    if isinstance(value, kind):
        return []
    if not isinstance(value, str):
        raise ConfigError(f"{group}: expected the name of an option or a {kind.__name__}, got {value!r}")
    return [override(group, value)]


def settings_of(outputs: str | PathLike[str] | None) -> Settings:
    """Where everything is under a folder of outputs."""
    folder = outputs_folder(None if outputs is None else fspath(outputs))
    return Settings(outputs=folder, data=folder / "data")


def composed(overrides: Sequence[str], settings: Settings) -> Cell:
    """The cell that overrides describe; where one is no override of the configuration, an error says so."""
    if any(word.lstrip("+").startswith("paths.outputs=") for word in overrides):
        raise ConfigError("paths.outputs: give the folder as outputs=")
    try:
        return compose([*overrides, override("paths.outputs", str(settings.outputs))])
    except HydraException as error:
        raise ConfigError(f"{' '.join(overrides)}: {explanation(error)}") from error


def features_of(model: Model, task: Task, settings: Settings, tested_on: EvalSplit = TEST) -> Features:
    """The embeddings that a task reads, opened and verified; those that ship inside packages are made first."""
    splits = READS[tested_on]
    keys = [EntryKey(model, dataset, split, task.limit) for dataset in task.datasets for split in splits]
    missing = [key for key in keys if is_bundled(key) and settings.cache.header(key) is None]
    make_bundled_entries(missing, settings, prepare=False)
    features = Features(settings.cache, model, task.limit)
    features.open(task, splits)
    return features


def samples(features: Features, task: Task, split: Split) -> Samples:
    """The samples of a task, label after label, in the order that its cells see."""
    return _labelled(task, [features.rows(split, label) for label in task.labels])


def samples_of_cell(features: Features, cell: Cell) -> tuple[Samples, Samples]:
    """What the estimator of a cell is fitted on, and what the cell is tested on.

    The estimator draws the shots of a cell itself; where samples are held out, both draws are made here.
    """
    scheme, task = cell.scheme, cell.task
    if scheme.split == TEST:
        return samples(features, task, "train"), samples(features, task, "test")
    draw = Draw(scheme.n_shot or 0, scheme.seed, scheme.setting("norm_pre"), validation=True)
    whole = [features.rows("train", label) for label in task.labels]
    trained, tested = (
        _labelled(task, [x[chosen(draw, label, len(x))] for x, label in zip(whole, task.labels, strict=True)])
        for chosen in (draws.training, draws.held_out)
    )
    return trained, tested


def _labelled(task: Task, rows: Sequence[NDArray[np.float32]]) -> Samples:
    """The rows of each label of a task as one array, and their labels."""
    names = class_names(task)
    keys = dict(zip(names, task.labels, strict=True))
    labels = np.repeat(np.array(names), [len(of_label) for of_label in rows])
    return np.concatenate(rows), KeyedLabels(labels, keys)


def class_names(task: Task) -> list[Any]:
    """What the labels of a task are called: the number of the class that all parts of a label share, else the parts.

    >>> class_names(Task("digits", "odd", ((("digits", 3),), (("digits", 1),))))
    [3, 1]
    """
    numbers = [_number(label) for label in task.labels]
    if None not in numbers and len(set(numbers)) == len(numbers):
        return numbers
    return [spelled(label) for label in task.labels]


def _number(label: Label) -> int | None:
    shared = {number for _, number in label}
    return shared.pop() if len(shared) == 1 else None
