"""The results table as the analysis reads it: one row per cell, of one version of the method and of the embeddings."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.data.streams import Stream, is_list, streams
from imprint_sweep.errors import StoreError, UnknownOptionError
from imprint_sweep.grid import commands
from imprint_sweep.grid.axes import AXES, SEED, of_part, parameter_column, parameter_key
from imprint_sweep.grid.cell import METHOD_VERSION, Task, component_versions
from imprint_sweep.grid.outcome import OK
from imprint_sweep.grid.scheme import (
    COMPONENTS,
    FIELDS,
    NEUTRAL,
    TEST,
    VALIDATION,
    Scheme,
    declared_parameters,
    known_parameters,
)
from imprint_sweep.imprinting.components import Parameter
from imprint_sweep.store import labels_of, load_results, schema_found
from imprint_sweep.store.schema import is_parameter
from imprint_sweep.wording import counted

MODEL: tuple[str, ...] = tuple(axis.column for axis in of_part("model"))
"""The columns that identify a foundation model."""

TASK: tuple[str, ...] = tuple(axis.column for axis in of_part("task") if not axis.follows)
"""The columns that identify a task. A model and a task are an *instance* of a comparison."""

DATASET: tuple[str, ...] = (*MODEL, "task", "limit")
"""The columns that identify a dataset as a model sees it."""

SCHEME: tuple[str, ...] = tuple(axis.column for axis in of_part("scheme") if not axis.follows and axis.name != SEED)
"""The axes of a *configuration* that all tables have, see :func:`scheme_columns`; medians are taken over the seed."""

COLUMNS = (
    *("cell_id", "computation_id", *MODEL, *TASK, "n_labels", *SCHEME, "seed", "weight_decay", "split"),
    *("n_correct", "n_test", "accuracy", "f1_macro", "n_proxies", "gen_seconds", "eval_seconds"),
    *("fingerprint", "method_version", "component_versions", "package_version", "git_commit", "host", "finished_at"),
)
"""What the analysis reads."""

_WORDS = (
    *(axis.column for axis in AXES if axis.stored == "string"),
    *("fingerprint", "package_version", "git_commit", "host"),
)


def parameter_columns(frame: pd.DataFrame) -> dict[str, str]:
    """The columns of a frame that hold parameters of components, and what these are called on the command line.

    Those of components that are not here are included.

    Args:
        frame: some columns of a results table.
    """
    return {name: key for name in map(str, frame) if (key := parameter_key(name)) is not None}


def scheme_columns(frame: pd.DataFrame) -> list[str]:
    """The axes of a configuration: :data:`SCHEME` and the parameters of components.

    Args:
        frame: some columns of a results table.
    """
    return [*SCHEME, *parameter_columns(frame)]


def without_parameters(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of what the paper has: k is given, and no parameter of a component has another value than the neutral.

    Args:
        frame: a results frame.
    """
    keep = np.ones(len(frame), np.bool_)
    if "select_rule" in frame:  # a frame without rows may have no columns
        keep &= frame["select_rule"].isna().to_numpy(np.bool_)
    for column in parameter_columns(frame):
        same = frame[column].isna()
        for key, parameter, field, name in declared_parameters():
            if parameter_column(key) == column:
                same |= frame[field].isin([name]) & frame[column].isin([parameter.neutral])
        keep &= same.to_numpy(np.bool_)
    return frame if keep.all() else frame[keep].reset_index(drop=True)


def is_baseline(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which rows are no imprinting, but what it is compared with: a component of theirs is a baseline, (n,).

    Args:
        frame: columns of :data:`SCHEME`.
    """
    found = np.zeros(len(frame), np.bool_)
    for field, registry in COMPONENTS.items():
        found |= frame[field].isin([name for name in registry if registry[name].baseline]).to_numpy(np.bool_)
    return found


@dataclass(frozen=True, eq=False)
class Results:
    """Comparable rows of a results table.

    Args:
        frame: :data:`COLUMNS` and :func:`parameter_columns`, one good row per cell, index 0, 1, ...; words are
            categories, integers that can be null ``Int64`` and the like. All of them are tested on the same split.
        outputs: the folder under which the table, the embeddings and the report are.
        notes: sentences on what was set aside, and on versions that are mixed.
        steps: rows of the steps of class-incremental streams, which are no instances of other comparisons. The last
            step, and others whose classes have a name, are in `frame`.
        streams: :data:`DATASET` -> the streams on it.
    """

    frame: pd.DataFrame
    outputs: Path
    notes: tuple[str, ...] = ()
    steps: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame)
    streams: Mapping[tuple[Any, ...], Sequence[Stream]] = dataclasses.field(default_factory=dict)

    @cached_property
    def tasks(self) -> dict[tuple[Any, ...], Task]:
        """(:data:`MODEL`, :data:`TASK`) -> the task, labels included.

        Of a task whose labels were defined anew the newest row counts, as in all comparisons.

        Raises:
            StoreError: the table, which alone holds the labels, cannot be read.
        """
        columns = [*MODEL, *TASK]
        newest = self.frame[[*columns, "cell_id"]].drop_duplicates(columns, keep="last")
        labels = labels_of(self.outputs / "results", newest["cell_id"].tolist())
        return {
            tuple(row.values()): Task(row["task"], row["classes"], of_task, row["merge"], row["remap"], row["limit"])
            for row, of_task in zip(records(newest[columns]), labels, strict=True)
        }

    @cached_property
    def weight_decays(self) -> dict[tuple[Any, ...], float]:
        """(:data:`MODEL`, :data:`TASK`), and :data:`MODEL` alone -> the newest lambda of a least-squares row."""
        rows = self.frame[self.frame["weight_decay"].notna()]
        found: dict[tuple[Any, ...], float] = {}
        for columns in ([*MODEL], [*MODEL, *TASK]):
            newest = rows[[*columns, "weight_decay"]].drop_duplicates(columns, keep="last")
            found |= {tuple(row.values())[:-1]: row["weight_decay"] for row in records(newest)}
        return found

    @cached_property
    def with_steps(self) -> pd.DataFrame:
        """:attr:`frame`, and the steps of streams behind it."""
        if self.steps.empty:
            return self.frame
        words = dict.fromkeys(self.frame.select_dtypes("category"), "category")
        return pd.concat([self.frame, self.steps], ignore_index=True).astype(words)

    def correct(self, cell_ids: Iterable[str]) -> dict[str, tuple[int, ...] | None]:
        """The correctly classified test samples of each label of some cells, None where a former version wrote none.

        Raises:
            StoreError: the table cannot be read.
        """
        of_all = load_results(self.outputs / "results", ["cell_id", "correct"]).set_index("cell_id")["correct"]
        found = of_all.loc[list(cell_ids)]
        return {str(cell): None if of is None else tuple(of.tolist()) for cell, of in found.items()}


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows, with None for every missing value."""
    plain = frame.astype(object)
    return [{str(name): of for name, of in row.items()} for row in plain.where(plain.notna(), None).to_dict("records")]


def load(outputs: str | PathLike[str], split: str = TEST) -> Results:
    """Read the results under a folder and set aside what cannot be compared with the rest.

    Rows that are tested on another split are set aside, rows of another version of the method or of a component, cells
    that only ever failed, rows without test samples, and rows of an instance whose embeddings were replaced later: an
    instance keeps the fingerprint of its newest row.

    Args:
        outputs: the folder that holds ``results``.
        split: what they are tested on, ``test`` or ``validation``.

    Raises:
        StoreError: there is no results table, or it holds no good row of the present method version.
    """
    outputs = Path(outputs)
    return comparable(_read(outputs / "results"), outputs, split)


def comparable(frame: pd.DataFrame, outputs: Path, split: str = TEST, *, source: str | None = None) -> Results:
    """The rows of a frame that can be compared with each other; see :func:`load`.

    Args:
        frame: :data:`COLUMNS`, :func:`parameter_columns` and ``status``, in the order in which rows were finished.
        outputs: the folder under which the table and the embeddings of these rows are.
        split: what they are tested on.
        source: what the frame is, for messages; None is the table under `outputs`.
    """
    notes = []
    mine = (frame["split"] == split).to_numpy(np.bool_)
    if split == TEST and not mine.all():
        notes.append(f"Set aside are cells with eval.split={VALIDATION}, for choosing: {int((~mine).sum()):,}.")
    frame = frame[mine]
    present = frame["method_version"] == METHOD_VERSION
    if not present.all():
        others = ", ".join(str(version) for version in sorted(frame.loc[~present, "method_version"].unique()))
        notes.append(
            f"Set aside are rows of method version {others}: {int((~present).sum()):,}; the present version is "
            f"{METHOD_VERSION}."
        )
        frame = frame[present]
    outdated = _outdated(frame)
    if outdated.any():
        told = sorted({f"{gen}" for gen in frame.loc[outdated, "gen"].astype(str)})
        notes.append(
            f"Set aside are rows (GEN {', '.join(told)}) that older versions of their components computed: "
            f"{int(outdated.sum()):,}; the sweep that computed them computes them again."
        )
        frame = frame[~outdated]
    good = frame.pop("status") == OK
    if not good.all():
        notes.append(
            f"Left out are cells that only ever failed: {int((~good).sum()):,}; see {commands.status(outputs)}."
        )
        frame = frame[good]
    untested = (frame["n_test"] == 0).fillna(False)
    if untested.any():
        notes.append(f"Left out are rows without test samples, which have no accuracy: {int(untested.sum()):,}.")
        frame = frame[~untested]
    if frame.empty:
        found = f" ({' '.join(notes)})" if notes else ""
        source = source or f"the results table at {outputs / 'results'}"
        raise StoreError(
            f"{source} holds no good row of method version {METHOD_VERSION}"
            f"{'' if split == TEST else f' with eval.split={split}'}{found}; run a cell or a sweep first"
        )
    frame = frame.astype(dict.fromkeys(_WORDS, "category"))
    known = {parameter_column(key): parameter for key, parameter in known_parameters().items()}
    for column in parameter_columns(frame):
        if not pd.api.types.is_numeric_dtype(frame[column].dtype):
            frame[column] = _as_categories(frame[column], known.get(column))
    # Rows come in the order in which they were finished.
    instance = frame.groupby([*MODEL, *TASK], observed=True, dropna=False, sort=False)
    code = frame["fingerprint"].cat.codes
    stale = code != code.groupby(instance.ngroup()).transform("last")
    if stale.any():
        which = ", ".join(sorted({f"{r.model} on {r.task} {r.classes}" for r in frame[stale].itertuples()})[:5])
        notes.append(f"Set aside are rows from embeddings that were replaced later ({which}): {int(stale.sum()):,}.")
        frame = frame[~stale]
    versions = sorted(frame["package_version"].astype(str).unique())
    if len(versions) > 1:
        notes.append(f"Rows of package versions {', '.join(versions)} are used together; their method is the same.")
    return _apart(Results(frame.reset_index(drop=True), outputs, tuple(notes)))


def _apart(results: Results) -> Results:
    """The same with the steps of streams apart."""
    frame = results.frame
    if sum(map(is_list, frame["classes"].cat.categories)) < 2:
        return results
    tasks: defaultdict[tuple[Any, ...], list[Task]] = defaultdict(list)
    try:
        for instance, task in results.tasks.items():
            if task.merge is None:
                tasks[(*instance[: len(MODEL)], task.name, task.limit)].append(task)
    except StoreError:  # rows of a DataFrame, whose table is elsewhere
        return results
    found = {dataset: of for dataset, of_dataset in tasks.items() if (of := streams(of_dataset))}
    listed = {
        (*dataset, step.classes) for dataset, of in found.items() for stream in of for step in stream.steps
        if is_list(step.classes)
    }  # fmt: skip
    if not listed:
        return results
    groups = frame.groupby([*DATASET, "classes", "merge"], observed=True, dropna=False, sort=False)
    number = groups.ngroup().to_numpy()
    first = np.unique(number, return_index=True)[1]
    of_group = records(frame.iloc[first][[*DATASET, "classes", "merge"]])
    step = np.array([row.pop("merge") is None and tuple(row.values()) in listed for row in of_group])[number]
    note = f"Steps of class-incremental streams are no tasks of other comparisons: {counted(int(step.sum()), 'cell')}."
    return Results(
        frame[~step].reset_index(drop=True),
        results.outputs,
        (*results.notes, note),
        frame[step].reset_index(drop=True),
        found,
    )


def _read(table: Path) -> pd.DataFrame:
    """The newest row of each cell, the parameters of components included."""
    known = [parameter_column(key) for key in known_parameters()]
    frame = load_results(table, [*COLUMNS, *known, "status"], status=None, split=None)
    if any(set(frame[field].dropna().unique()) - set(registry) for field, registry in COMPONENTS.items()):
        others = [field.name for field in schema_found(table) if is_parameter(field)]
        frame = load_results(table, [*COLUMNS, *others, "status"], status=None, split=None)
    # Rows of the time before a parameter was there are null; what they computed is its neutral value.
    for key, parameter, field, name in declared_parameters():
        column = parameter_column(key)
        frame[column] = frame[column].mask(
            frame[field].isin([name]) & frame[column].isna(), parameter.recorded(parameter.neutral)
        )
    return frame


def _as_categories(column: pd.Series, parameter: Parameter | None) -> pd.Series:
    """The texts of a parameter as categories, those that are numbers of it as numbers: these first, ascending."""
    values = {text: text if parameter is None else parameter.read(text) for text in column.dropna().unique()}
    order = sorted(values.values(), key=lambda value: (isinstance(value, str), value))
    # Mixed values would otherwise become texts again.
    categories = pd.Index(order, dtype=object if len({type(value) for value in order}) > 1 else None)
    return column.map(values).astype(pd.CategoricalDtype(categories, ordered=True))


def _outdated(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the versions of the components that computed a row are not the present ones."""
    recorded = frame["component_versions"].astype(object).fillna("").astype(str)
    axes = [*(name for name in FIELDS if name not in ("seed", "weight_decay")), *NEUTRAL, "n_labels"]
    groups = frame.groupby(axes, observed=True, dropna=False, sort=False)
    group = groups.ngroup().to_numpy()
    first = np.unique(group, return_index=True)[1]
    present = [_present_versions(row) for row in frame.iloc[first][axes].astype(object).to_dict("records")]
    wanted = np.array(present, dtype=object)[group] if len(frame) else np.empty(0, object)
    # What is computed by a component that is not installed here cannot be judged.
    outdated: NDArray[np.bool_] = (recorded.to_numpy(object) != wanted) & (wanted != _UNKNOWN)
    return outdated


_UNKNOWN = "?"


def _present_versions(row: dict[Any, Any]) -> str:
    values: dict[str, Any] = {name: None if pd.isna(value) else value for name, value in row.items()}
    n_labels = int(values.pop("n_labels"))
    try:
        return component_versions(Scheme(**values, seed=0, weight_decay=None), n_labels)
    except UnknownOptionError:
        return _UNKNOWN
