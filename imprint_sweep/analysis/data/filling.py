"""The commands that would compute what an artefact lacks, with the models and tasks that the user has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pandas as pd

from imprint_sweep.analysis.data.results import MODEL, TASK, Results, records
from imprint_sweep.embeddings.cache import EmbeddingCache
from imprint_sweep.errors import StoreError
from imprint_sweep.grid import commands
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.choosing import Chosen, chosen_model, chosen_task, chosen_whole
from imprint_sweep.invocation import OverrideValue, choices

Box = dict[str, list[OverrideValue]]
"""Key -> values: the product of some axes."""


def command(
    request: str | Sequence[str], frame: pd.DataFrame, results: Results, *, whole: bool = False, exactly: bool = False
) -> str:
    """The sweeps that run an experiment on the models and tasks of some results.

    Args:
        request: the experiment and what narrows it, as on the command line: ``"+experiment=agg_focus gen=all"``.
        frame: rows with :data:`~imprint_sweep.analysis.data.results.MODEL` and
            :data:`~imprint_sweep.analysis.data.results.TASK`; without any, the experiment's own models and tasks stay.
        results: all results, of which these are some.
        whole: ask for the datasets as they are and for all of their samples, whatever the results have of them.
        exactly: ask for these instances and no others. Else the experiment says which of its named selections of
            classes count, of which the paper's comparisons have four.

    Returns:
        For a shell: as few sweeps as ask for these instances, one after the other.
    """
    words = request.split() if isinstance(request, str) else request
    asked = _products([_chosen(row, results, whole=whole, exactly=exactly) for row in _instances(frame)])
    return " && ".join(
        commands.sweep([*words, *(choices(key, of) for key, of in box.items())], results.outputs)
        for box in asked or [{}]
    )


def chosen(frame: pd.DataFrame, results: Results) -> Chosen:
    """The overrides of the model and the task of a single instance; see :func:`command`."""
    (row,) = _instances(frame)
    return _chosen(row, results, exactly=True)


def _instances(frame: pd.DataFrame) -> list[dict[str, Any]]:
    columns = [*MODEL, *TASK]
    return records(frame[columns].drop_duplicates().sort_values(columns, kind="stable"))


def _chosen(row: dict[str, Any], results: Results, *, whole: bool = False, exactly: bool = False) -> Chosen:
    instance = tuple(row.values())
    model = Model.recorded(*(row[name] for name in MODEL))
    chosen = chosen_model(model, results.weight_decays.get(instance, results.weight_decays.get(instance[: len(MODEL)])))
    task = None
    with suppress(StoreError):
        task = results.tasks.get(instance)
    if whole:
        return {**chosen, **chosen_whole(row["task"], () if task is None else task.datasets, model)}
    cache = EmbeddingCache(results.outputs / "embeddings")
    named = Task(row["task"], row["classes"], (((row["task"], 0),),), row["merge"], row["remap"], row["limit"])
    chosen |= chosen_task(
        task or named, model, lambda datasets: cache.classes(model, datasets, row["limit"]), by_name=task is None
    )
    if not exactly and isinstance(chosen["task.classes"], str):
        del chosen["task.classes"]
    return chosen


def _products(points: Sequence[Chosen]) -> list[Box]:
    """Points as products of axes: together they hold each point once, and nothing else."""
    boxes: list[Box] = [{key: [value] for key, value in point.items()} for point in points]
    for axis in dict.fromkeys(key for box in reversed(boxes) for key in reversed(box)):
        boxes = list(_joined(boxes, axis))
    return boxes


def _joined(boxes: Sequence[Box], axis: str) -> Iterator[Box]:
    """The boxes, with those in one that differ in the values of one axis alone."""
    alike: dict[str, Box] = {}
    for box in boxes:
        others = repr([(key, values) for key, values in box.items() if key != axis] + [axis in box])
        if others not in alike:
            alike[others] = box
        elif axis in box:
            values = [*alike[others][axis], *(value for value in box[axis] if value not in alike[others][axis])]
            alike[others] = {**alike[others], axis: values}
    yield from alike.values()
