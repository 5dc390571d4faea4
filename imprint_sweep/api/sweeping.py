"""Sweeps from a notebook: the same plan, table and ids as on the command line, and a DataFrame at the end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from os import PathLike, fspath
from typing import Any

import numpy as np
import pandas as pd
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from tqdm import TqdmWarning

from imprint_sweep.api.samples import settings_of
from imprint_sweep.config.component_options import offer
from imprint_sweep.config.composing import project_configuration
from imprint_sweep.config.messages import explanation
from imprint_sweep.config.overrides import for_hydra, is_one_value
from imprint_sweep.config.reading import settings_from
from imprint_sweep.config.settings import Settings
from imprint_sweep.errors import ConfigError, MissingEmbeddingsError, SweepError, UnknownOptionError
from imprint_sweep.grid.outcome import OK, Outcome
from imprint_sweep.invocation import choices, override
from imprint_sweep.planning.from_command_line import requested
from imprint_sweep.planning.plan import Plan
from imprint_sweep.running.bundled import is_bundled, make_bundled_entries
from imprint_sweep.running.work import Work, find_work, run_cells
from imprint_sweep.store import load_results
from imprint_sweep.wording import counted

with warnings.catch_warnings(action="ignore", category=TqdmWarning):  # a notebook without ipywidgets gets a text bar
    from tqdm.auto import tqdm

_KEYS = {
    **{f"norm_{position}": f"norm.{position}" for position in ("pre", "post", "inf")},
    **{name: f"agg.{name}" for name in ("m", "metric", "weighting")},
    **{name: f"task.{name}" for name in ("classes", "order", "seen", "merge", "remap")},
    "weight_decay": "model.weight_decay",
    "split": "eval.split",
    "select": "select.rule",
    "max_k": "select.max_k",
}
"""What a keyword is called on the command line, where it is called otherwise."""

_HOW = {"device", "force", "paths", "sweep"}
"""Keys that say how to run."""

_ELSEWHERE = {"paths.outputs": "give the folder as outputs="} | dict.fromkeys(
    (f"sweep.{name}" for name in ("dry_run", "submit", "wait", "shards", "allow_missing")),
    "it is a setting of the command line; here the cells run in this process",
)
"""Keys that have no meaning here, and what to do instead."""


def sweep(
    *,
    experiment: str | None = None,
    outputs: str | PathLike[str] | None = None,
    progress: bool = True,
    **axes: Any,
) -> pd.DataFrame:
    """Run the cells of a grid that are not in the table yet, and return the rows of all of them.

    Each keyword is an axis of the grid: a value, or a list, tuple, range or array of values. They are called as the
    parameters of :class:`~imprint_sweep.api.imprinter.Imprinter` or as on the command line (``**{"agg.m": [1, 5]}``). A
    list of classes is one value, and so is a list within a list (``classes=[[3, 1, 7], "even"]``). Combinations
    without a meaning are left out.
    Whatever interrupts it, finished cells are in the table, and the same call goes on.

    Args:
        experiment: a file of the configuration's folder `experiment`, such as ``"mini"``.
        outputs: the `paths.outputs` of the runs; None is theirs.
        progress: whether a bar shows what is done, in a notebook or a terminal.
        **axes: the grid, and settings such as ``force=True`` or ``**{"sweep.threads": 2}``.

    Returns:
        A row for each distinct cell, in the order of the grid, with the columns of the results table.

    Raises:
        ConfigError: an axis or value that does not exist.
        EmbeddingsError: embeddings are missing or damaged.
        SweepError: cells failed; the others are in the table.

    For example ``sweep(task="digits", gen=["kmeans", "mean"], k=[1, 5], seed=range(3))``.
    """
    plan, settings = _planned(axes, experiment, settings_of(outputs))
    since = datetime.now(UTC) if settings.force else None
    work = find_work(plan, settings, since=since)
    missing = work.missing()
    make_bundled_entries(missing, settings, prepare=False)
    if absent := [key for key in missing if not is_bundled(key)]:
        raise settings.cache.missing(absent)
    failed: list[Outcome] = []
    # None is for terminals alone; what a notebook shows is none, and shows text bars, too.
    hidden = not progress or (False if type(sys.stderr).__module__.startswith("ipykernel.") else None)
    with tqdm(total=None, unit="cell", disable=hidden, leave=False) as bar:

        def begin(work: Work) -> None:
            bar.reset(int(work.todo.sum()))

        def report(outcome: Outcome) -> None:
            bar.update()
            if outcome.status != OK:
                failed.append(outcome)

        run_cells(plan, settings, since=since, begin=begin, report=report)
    if failed:
        raise SweepError(f"{len(failed):,} of {len(plan):,} cells failed, first of all by: {failed[0].error}")
    rows = load_results(settings.results, split=None).set_index("cell_id", drop=False)
    ids = plan.cell_id.astype(str)
    if lacking := int((~np.isin(ids, rows.index.to_numpy(str))).sum()):
        raise SweepError(
            f"{lacking:,} of {len(plan):,} cells failed before and are not tried again (sweep.retry_failed)"
        )
    return rows.loc[ids].reset_index(drop=True)


def _planned(axes: Mapping[str, Any], experiment: str | None, place: Settings) -> tuple[Plan, Settings]:
    """The cells of the grid and how to run them, by the same way as on the command line."""
    given = {name: _axis(_KEYS.get(name, name), value) for name, value in axes.items()}
    if misplaced := _ELSEWHERE.keys() & given:
        name = min(misplaced)
        raise ConfigError(f"{name}: {_ELSEWHERE[name]}")
    how = [word for name, word in given.items() if name.partition(".")[0] in _HOW]
    words = [for_hydra(word) for word in given.values() if word not in how]
    words += [f"+experiment={experiment}"] * (experiment is not None)
    how.append(override("paths.outputs", str(place.outputs)))
    offer()
    try:
        with project_configuration() as loader:
            config = loader.load_configuration("config", how, RunMode.MULTIRUN)
            arguments = OmegaConf.to_container(config.hydra.overrides.task)
            assert isinstance(arguments, list)
            request, _ = requested([*map(str, arguments), *words], loader, config)
            settings = settings_from(config)
    except UnknownOptionError as error:
        if error.kind != "key" or "." in error.name:
            raise
        raise UnknownOptionError("axis", error.name, {*error.available, *_KEYS}) from error
    except HydraException as error:
        raise ConfigError(f"{' '.join(words)}: {explanation(error)}") from error
    if request.missing:
        raise MissingEmbeddingsError(
            f"the classes are those of embeddings that are missing: {next(iter(request.missing))}"
        )
    if request.invalid:
        count, reason = sum(request.invalid.values()), next(iter(request.invalid))
        warnings.warn(f"{counted(count, 'combination')} left out, first of all: {reason}", stacklevel=3)
    return Plan.of(request), settings


def _axis(key: str, values: Any) -> str:
    """The override that gives an axis its values.

    >>> _axis("task.classes", ["all", [3, 1]]), _axis("task.classes", [3, 1]), _axis("task.name", "1e3")
    ('task.classes=all,[3,1]', 'task.classes=[3,1]', 'task.name="1e3"')
    """
    plain = _plain(key, values)
    if not isinstance(plain, list):
        return override(key, plain)
    if not plain:
        raise ConfigError(f"{key} has no value: give it one, or leave it out")
    return override(key, plain) if is_one_value(key, plain) else choices(key, plain)


def _plain(key: str, value: Any) -> Any:
    """A value as a command line can have it: no types of NumPy, and lists for everything that holds several."""
    if getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, PathLike):
        value = fspath(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Iterable) and not isinstance(value, Mapping | bytes):
        return [_plain(key, item) for item in value]
    raise ConfigError(f"{key}: expected numbers, texts or None, or lists of them, got {value!r}")
