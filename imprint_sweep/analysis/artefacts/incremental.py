"""Class-incremental streams: accuracy over the classes seen, and a table as RanPAC and PILOT print it.

A number is one of a real stream, an order of classes under a seed; then come the median over seeds and the mean over
orders.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Floats, Options, Series, Table
from imprint_sweep.analysis.artefacts.about import PANEL, UNMERGED, About, sweep
from imprint_sweep.analysis.artefacts.comparisons import L2, MAX, MEAN, NONE, marked, methods
from imprint_sweep.analysis.artefacts.lines import Head, grid
from imprint_sweep.analysis.data import filling, names
from imprint_sweep.analysis.data.results import DATASET, Results, records, scheme_columns
from imprint_sweep.analysis.data.selection import MAIN_SEEDS, Axes, seeds_of, select, under_one_name
from imprint_sweep.analysis.data.streams import ORDERS, Stream, is_list
from imprint_sweep.analysis.stats.curves import FM, with_models
from imprint_sweep.analysis.stats.incremental import average, forgetting
from imprint_sweep.invocation import choices
from imprint_sweep.wording import counted

KNN: Axes = {"gen": ["all"], **L2, "agg": ["mnn"], "metric": ["cosine"], "m": [20], "weighting": ["softmax"]}

METHODS = marked(
    {
        "Mean": {**MEAN, **L2, **MAX},
        "k-means, k = 5": {"gen": ["kmeans"], "k": [5], **L2, **MAX},
        "k-means, k = 20": {"gen": ["kmeans"], "k": [20], **L2, **MAX},
        "k-NN, softmax votes": KNN,
        "Mean, metric of FeCAM": {**MEAN, **NONE, "agg": ["max"], "metric": ["class_mahalanobis"]},
        "Linear discriminant": {"gen": ["lda"], "k": [1], **NONE, **MAX},
        "RanPAC": {"gen": ["ranpac"], **NONE, **MAX},
        "Least squares": {"gen": ["least_squares"], **NONE, **MAX},
    }
)
"""Those of the experiment, under the names of :func:`~imprint_sweep.analysis.data.selection.under_one_name`."""

COLOURS = dict(
    zip(
        METHODS,
        ("gen:mean", "gen:fps", "gen:kmeans", "gen:all", "gen:random", "gen:kmedoids", "gen:cov_max",
         "gen:k_least_squares"),
        strict=True,
    )
)  # fmt: skip
"""Colours of the palette; a method has the one of its GEN where that tells it from the others."""

MOST_LINES = 12
"""With more, the figure shows those of :data:`METHODS` alone."""

REQUEST = "+experiment=incremental"

INCREMENTAL = About(
    "incremental",
    "Accuracy over the classes seen",
    "streams",
    "Class-incremental streams: classes arrive some at a time, in several random orders, and after each step the "
    "classifier is tested on all classes seen. Imprinted proxies do not change when classes arrive: accuracy falls as "
    "there is more to confuse. A baseline is no imprinting: it is fitted to all classes seen, anew at each step. "
    "Median over seeds, then mean over orders.",
    "streams (task.order and task.seen) on whole datasets with all training samples",
)

_NOTE = (
    "Percent. Ā: the average incremental accuracy, the mean over steps of the accuracy on all classes seen; A_B: the "
    "accuracy after the last step, which no order changes; F: forgetting, how far the accuracy on the classes that "
    "arrived together fell from its best to the last step, on average over all but the last (Chaudhry et al. 2018)."
)


@dataclass(frozen=True)
class Run:
    """One method on one order of the classes of a dataset: medians over seeds.

    Args:
        panel: model and dataset.
        method: which.
        order: which.
        seen: how many classes have been seen at each step.
        accuracy: of each step, shares.
        average, forgetting: shares; NaN where the table does not tell.
        seeds: how many.
    """

    panel: tuple[str, str]
    method: str
    order: int
    seen: tuple[int, ...]
    accuracy: tuple[float, ...]
    average: float
    forgetting: float
    seeds: int


def incremental(results: Results, options: Options) -> Artefact:
    """Accuracy over the classes seen, average and last accuracy, and forgetting, of each method and dataset."""
    streams = {key: of for key, of in results.streams.items() if key[-1] is None}  # of whole datasets
    frame = with_models(under_one_name(results.with_steps))
    rows = _rows(frame, streams)
    seeds = seeds_of(rows, MAIN_SEEDS, options.seeds)
    rows = select(rows, {"seed": seeds})
    correct = results.correct(rows["cell_id"]) if len(rows) else {}
    runs: list[Run] = []
    missing, commands = [], []
    for head, of_dataset in rows.groupby([*PANEL, *DATASET], observed=True, dropna=False):
        panel, key = (str(head[0]), str(head[1])), records(of_dataset[list(DATASET)].head(1))[0]
        of_streams = streams[tuple(key.values())]
        found: list[Run] = []
        for method, of_method in of_dataset.groupby("method", sort=False):
            cells = {(row["classes"], row["seed"]): row for row in records(of_method)}
            made = (_run(panel, str(method), stream, seeds, cells, correct) for stream in of_streams)
            found += filter(None, made)
        said = _lacks(panel, of_streams, found, seeds)
        runs += found
        missing += said
        commands += [_command(results, of_dataset, of_streams)] if said else []
    if not runs:
        return INCREMENTAL.nothing(missing, commands or [sweep(REQUEST, frame, results)])
    if any(math.isnan(run.forgetting) and len(run.seen) > 1 for run in runs):
        missing.append(
            "Forgetting is unknown where rows lack the correct predictions of each label, as those of version 0.1.0 "
            "do; force=true computes them again."
        )
    shown = list(dict.fromkeys([*METHODS, *(run.method for run in runs)]))
    shown = [method for method in shown if any(run.method == method for run in runs)]
    return INCREMENTAL.artefact(
        _basis(runs, seeds, frame),
        missing,
        commands,
        [_table(runs, shown), _spread(runs, shown)],
        [_chart(runs, shown)],
    )


def _rows(frame: pd.DataFrame, streams: Mapping[tuple[Any, ...], Sequence[Stream]]) -> pd.DataFrame:
    """The rows of steps, of the configurations that have some of another step than the last; with their method."""
    frame = select(frame, {"merge": [None], "limit": [None], "n_shot": [None]})
    steps = {(*key, step.classes) for key, of in streams.items() for stream in of for step in stream.steps}
    columns = [*DATASET, "classes"]
    number = frame.groupby(columns, observed=True, dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(number, return_index=True)
    is_step = np.array([tuple(row.values()) in steps for row in records(frame.iloc[first][columns])], np.bool_)
    frame = frame[is_step[number]]
    scheme = scheme_columns(frame)
    configuration = frame.groupby(scheme, observed=True, dropna=False, sort=False).ngroup().to_numpy()
    early = np.unique(configuration[frame["classes"].map(is_list).to_numpy(np.bool_)])
    frame, configuration = frame[np.isin(configuration, early)], configuration[np.isin(configuration, early)]
    distinct, first, place = np.unique(configuration, return_index=True, return_inverse=True)
    of_each = frame.iloc[first]
    named = zip(methods(of_each, METHODS), names.configurations(of_each), strict=True)
    method = np.array([own or other for own, other in named], dtype=object)
    return frame.assign(method=method[place] if len(distinct) else None)


def _run(
    panel: tuple[str, str],
    method: str,
    stream: Stream,
    seeds: Sequence[int],
    cells: Mapping[tuple[str, int], Mapping[str, Any]],
    correct: Mapping[str, tuple[int, ...] | None],
) -> Run | None:
    """The numbers of a stream; None if no seed has all of its steps."""
    of_seeds = [[cells.get((step.classes, seed)) for step in stream.steps] for seed in seeds]
    whole = [[row for row in rows if row is not None] for rows in of_seeds if None not in rows]
    if stream.lacking or not whole:
        return None
    n_test = np.array([row["n_test"] for row in whole[0]], np.float64)
    n_correct = np.array([[row["n_correct"] for row in rows] for rows in whole], np.float64)
    forgot = [forgetting(_by_arrival(stream, [correct[row["cell_id"]] for row in rows]), n_test) for rows in whole]
    return Run(
        panel,
        method,
        stream.order,
        tuple(len(step.seen) for step in stream.steps),
        tuple((np.median(n_correct, axis=0) / n_test).tolist()),
        float(np.median([average(of_seed, n_test) for of_seed in n_correct])),
        float(np.median(forgot)),
        len(whole),
    )


def _by_arrival(stream: Stream, correct: Sequence[tuple[int, ...] | None]) -> Floats:
    """(S, S) correct predictions after each step of the classes that arrived together; NaN where nobody knows."""
    found = np.full((len(correct), len(correct)), np.nan)
    for place, (step, counts) in enumerate(zip(stream.steps, correct, strict=True)):
        if counts is not None:
            of_label = dict(zip(step.seen, counts, strict=True))
            for group, earlier in enumerate(stream.steps[: place + 1]):
                found[place, group] = sum(of_label[label] for label in earlier.arrived)
    return found


def _lacks(panel: tuple[str, str], streams: Sequence[Stream], runs: Sequence[Run], seeds: Sequence[int]) -> list[str]:
    """What a dataset lacks, a sentence each."""
    where = " on ".join(panel)
    partial = [f"order {stream.order} ({', '.join(map(str, stream.lacking))})" for stream in streams if stream.lacking]
    said = [f"{where}: no results of steps, by classes seen: {names.some(partial)}."] if partial else []
    complete = [stream for stream in streams if not stream.lacking]
    if not partial and len(complete) < ORDERS:
        said.append(f"{where}: {len(complete)} of {ORDERS} orders.")
    of_method = Counter(run.method for run in runs)
    if absent := [method for method in METHODS if not of_method[method]]:
        said.append(f"{where}: no complete stream of {names.some(absent, len(absent))}.")
    few = [f"{method} ({n})" for method, n in of_method.items() if n < len(complete)]
    if few:
        said.append(f"{where}: of {len(complete)} orders, some methods have fewer: {names.some(few)}.")
    if any(run.seeds < len(seeds) for run in runs):
        said.append(f"{where}: some streams stand on fewer than {len(seeds)} seeds.")
    return said


def _command(results: Results, rows: pd.DataFrame, streams: Sequence[Stream]) -> str:
    """What computes the streams of a dataset in the steps that it has."""
    sizes = sorted({size for stream in streams for size in (*stream.lacking, *(len(of.seen) for of in stream.steps))})
    classes = sizes[-1]
    usual = sizes == sorted({min(size, classes) for size in range(2, 101, 2)})
    request = [REQUEST] if usual else [REQUEST, choices("task.seen", sizes)]
    return filling.command(request, rows[rows["classes"] == rows["classes"].iloc[0]], results, whole=True)


def _basis(runs: Sequence[Run], seeds: Sequence[int], frame: pd.DataFrame) -> str:
    panels = dict.fromkeys(run.panel for run in runs)
    models, tasks = ({panel[place] for panel in panels} for place in (0, 1))
    orders = {len({run.order for run in runs if run.panel == panel}) for panel in panels}
    steps = sorted({len(run.seen) for run in runs})
    there = select(frame, UNMERGED)[list(PANEL)].drop_duplicates().astype(str).itertuples(index=False, name=None)
    others = [" on ".join(panel) for panel in sorted(there) if panel not in panels]
    return (
        f"{counted(len(models), 'model')} and {counted(len(tasks), 'dataset')}; "
        f"{' or '.join(map(str, sorted(orders)))} orders of {' or '.join(map(str, steps))} steps; "
        f"{counted(len(seeds), 'seed')}." + (f" Not shown, without streams: {names.some(others)}." if others else "")
    )


def _of(runs: Iterable[Run], panel: tuple[str, str], method: str) -> list[Run]:
    return [run for run in runs if run.panel == panel and run.method == method]


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _table(runs: Sequence[Run], shown: Sequence[str]) -> Table:
    """A row for each model and method, and three columns for each dataset."""
    panels = sorted(dict.fromkeys(run.panel for run in runs))
    models, tasks = (list(dict.fromkeys(sorted(panel[place] for panel in panels))) for place in (0, 1))
    rows = []
    for fm in models:
        for method in shown:
            row: dict[str, Any] = {FM: fm, "method": method}
            for task in tasks:
                if of := _of(runs, (fm, task), method):
                    row[f"{task} average"] = _mean(run.average for run in of)
                    row[f"{task} last"] = _mean(run.accuracy[-1] for run in of)
                    row[f"{task} forgetting"] = _mean(run.forgetting for run in of)
            if len(row) > 2:
                rows.append(row)
    columns = [*([Column(FM, "model")] if len(models) > 1 else []), Column("method", "method")]
    for task in tasks:
        columns += [
            Column(f"{task} average", f"{task}: Ā", "percent", "highest"),
            Column(f"{task} last", f"{task}: A_B", "percent", "highest"),
            Column(f"{task} forgetting", f"{task}: F", "percent", "lowest"),
        ]
    frame = pd.DataFrame(rows).reindex(columns=[FM, *(column.name for column in columns if column.name != FM)])
    return Table(INCREMENTAL.name, INCREMENTAL.title, tuple(columns), frame, _NOTE)


def _spread(runs: Sequence[Run], shown: Sequence[str]) -> Table:
    """A row for each model, dataset and method, with standard deviations over orders."""
    rows = []
    for panel in sorted(dict.fromkeys(run.panel for run in runs)):
        for method in shown:
            if of := _of(runs, panel, method):
                row: dict[str, Any] = {**dict(zip(PANEL, panel, strict=True)), "method": method, "orders": len(of)}
                row |= {"steps": len(of[0].seen), "classes": of[0].seen[-1], "last": of[0].accuracy[-1]}
                for name in ("average", "forgetting"):
                    values = np.array([getattr(run, name) for run in of])
                    row |= {name: values.mean(), f"{name} ±": values.std(ddof=1) if len(of) > 1 else np.nan}
                rows.append(row)
    frame = pd.DataFrame(rows)
    heads = [Column(FM, "model"), Column("task", "dataset")]
    columns = (
        *(column for column in heads if frame[column.name].nunique() > 1),
        Column("method", "method"),
        Column("orders", "orders", "count"),
        Column("steps", "steps", "count"),
        Column("classes", "classes", "count"),
        Column("average", "Ā", "percent"),
        Column("average ±", "±", "percent"),
        Column("last", "A_B", "percent"),
        Column("forgetting", "F", "percent"),
        Column("forgetting ±", "±", "percent"),
    )
    note = "Percent; ± is the standard deviation over orders. The columns are those of the table above."
    return Table(f"{INCREMENTAL.name}_orders", f"{INCREMENTAL.title}: how much the order matters", columns, frame, note)


def _chart(runs: Sequence[Run], shown: Sequence[str]) -> Chart:
    """Accuracy over the classes seen, the mean over orders; a panel for each model and dataset."""
    lines = shown if len(shown) <= MOST_LINES else [method for method in shown if method in METHODS]
    panels: dict[Head, list[Series]] = {}
    for panel in sorted(dict.fromkeys(run.panel for run in runs)):
        panels[panel] = [
            Series(
                method,
                np.array(of[0].seen, np.float64),
                100.0 * np.mean([run.accuracy for run in of], axis=0),
                colour=COLOURS.get(method, method),
            )
            for method in lines
            if (of := _of(runs, panel, method))
        ]
    return grid(INCREMENTAL.name, INCREMENTAL.title, panels, "classes seen")
