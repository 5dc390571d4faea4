"""The command that would compute what an artefact lacks, with the models and tasks that the user has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

import numpy as np
import pandas as pd

from imprint_sweep.analysis.data.results import MODEL, TASK

IMPORTED = "imported"
"""The ``weights`` of imported embeddings, and the options through which a sweep reads them."""


def command(request: str, frame: pd.DataFrame) -> str:
    """The sweep that runs an experiment on the models and tasks of a results table.

    Args:
        request: the experiment and what narrows it, as on the command line: ``"+experiment=agg_focus gen=all"``.
        frame: rows with :data:`~imprint_sweep.analysis.data.results.MODEL` and
            :data:`~imprint_sweep.analysis.data.results.TASK`; without any, the experiment's own models and tasks stay.

    Returns:
        One line for a shell. Where embeddings of networks and imported ones are in one table, it is about those that
        have more instances: one sweep reads either.
    """
    return shlex.join(["python", "-m", "imprint_sweep", "-m", *request.split(), *options(frame)])


def options(frame: pd.DataFrame) -> list[str]:
    """The overrides that choose the models and tasks of a results table, see :func:`command`."""
    words: list[str] = []
    instances = frame[[*MODEL, *TASK]].drop_duplicates()
    if instances.empty:
        return words
    imported = (instances["weights"] == IMPORTED).to_numpy(np.bool_)
    mostly_imported = imported.sum() > len(imported) / 2
    instances = instances[imported == mostly_imported]
    models, tasks = sorted(instances["model"].unique()), sorted(instances["task"].unique())
    if mostly_imported:
        words += [f"model={IMPORTED}", f"model.name={_values(models)}"]
        return [*words, f"task={IMPORTED}", f"task.name={_values(tasks)}"]
    # All models of a library such as timm are one option, which takes their names.
    libraries = sorted({name.partition("/")[0] for name in models})
    words.append(f"model={_values(libraries)}")
    if len(libraries) == 1 and "/" in models[0]:
        words.append(f"model.name={_values(models)}")
    sizes = instances["image_size"].unique().tolist()
    if len(sizes) == 1 and not pd.isna(sizes[0]):
        words.append(f"model.image_size={sizes[0]}")
    return [*words, f"task={_values(tasks)}"]


def _values(values: Iterable[str]) -> str:
    """A list for Hydra's grammar."""
    return ",".join(value if re.fullmatch(r"[\w./-]+", value) else f"'{value}'" for value in values)
