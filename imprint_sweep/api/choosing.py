"""The best configuration: chosen by held-out samples where there are such rows, and what its head costs here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from numbers import Integral
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.data import filling, names
from imprint_sweep.analysis.data import results as tables
from imprint_sweep.analysis.data.results import MODEL, SCHEME, Results, parameter_columns, records
from imprint_sweep.analysis.data.selection import INSTANCE, select
from imprint_sweep.analysis.data.subset import subset
from imprint_sweep.analysis.stats import best as ranking
from imprint_sweep.analysis.stats.best import Best, Tested, tested
from imprint_sweep.embeddings.cache import READS, EmbeddingCache
from imprint_sweep.embeddings.features import Features
from imprint_sweep.errors import ConfigError, EmbeddingsError, StoreError, UnknownOptionError
from imprint_sweep.grid.axes import parameter_key
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.grid.choosing import chosen_scheme, overrides
from imprint_sweep.grid.scheme import TEST, TESTED_ON, VALIDATION, Scheme
from imprint_sweep.imprinting.one_core import one_core
from imprint_sweep.invocation import choices, outputs_folder

QUERIES = 512
"""Queries of one measurement."""

SLOW = 0.1
"""Seconds for a few queries beyond which these are enough of a measurement."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The best configuration, as :func:`best` chose it.

    Args:
        name: of the configuration, in words.
        by: what it was chosen by, ``validation`` or ``test``.
        accuracy: by which it was chosen: the median over seeds, the mean over tasks.
        test_accuracy: the same on the test split; None where a test cell is not in the table.
        cell_id: of its first test cell, for :func:`~imprint_sweep.api.cells.imprinter_from_cell`; None where it is
            not in the table.
        table: the configuration, and below it the best of every other GEN, baselines last: ``name``, ``gen``,
            ``baseline``, ``accuracy``, ``proxies`` of all labels together, ``nbytes`` of these and of the map of
            queries (where the gen has one), ``microseconds`` a query here on one thread (both null where the embeddings
            are not here), ``lead`` of the best and its ``p``, corrected.
        cells: the rows of its test cells.
        command: computes its test cells.
        answer: everything that was ranked.
        tested: how it was looked up on the test split.
        results: the rows that it was chosen from.
    """

    name: str
    by: str
    accuracy: float
    test_accuracy: float | None
    cell_id: str | None
    table: pd.DataFrame = field(repr=False)
    cells: pd.DataFrame = field(repr=False)
    command: str = field(repr=False)
    answer: Best = field(repr=False)
    tested: Tested = field(repr=False)
    results: Results = field(repr=False)

    @property
    def proxies(self) -> int:
        """Proxies of all labels together."""
        return int(self.table["proxies"].iloc[0])


def best(
    results: pd.DataFrame | str | PathLike[str] | None = None,
    *,
    task: str | Sequence[str] | None = None,
    by: str | None = None,
    where: str | None = None,
    max_proxies: int | None = None,
    n_shot: int | None = None,
    with_baselines: bool = False,
    outputs: str | PathLike[str] | None = None,
) -> Choice:
    """Choose the best configuration, and look it up on the test split.

    Choosing by the test split makes what is chosen look better than it is. So rows with ``eval.split=validation``
    decide where there are any for the question; test rows decide only where there are none, or with ``by="test"``.

    Args:
        results: rows as :func:`~imprint_sweep.api.sweeping.sweep` returns them; or the `paths.outputs` of the runs, for
            all of their table.
        task: a task or several; None for all.
        by: validation or test; None is as above.
        where: which rows, a condition such as ``"model == resnet18"``.
        max_proxies: the memory budget: proxies of all labels together.
        n_shot: training samples per label; None for all.
        with_baselines: show gens that are no imprinting, too; they are never chosen.
        outputs: the `paths.outputs` of the runs where `results` is a DataFrame; None is theirs.

    Raises:
        StoreError: there are no such rows.
        UnknownOptionError: no such task, or no such split.
        ConfigError: nothing is left to choose from.

    For example ``best(sweep(task="digits", k=[1, 5, 20], split=["validation", "test"]), task="digits").cell_id``.
    """
    if by is not None and by not in TESTED_ON:
        raise UnknownOptionError("by", by, TESTED_ON)
    if results is not None and not isinstance(results, pd.DataFrame):
        results, outputs = None, results
    folder = outputs_folder(None if outputs is None else fspath(outputs))
    wanted = [task] if isinstance(task, str) else list(() if task is None else task)
    _check(where, {"max_proxies": max_proxies, "n_shot": n_shot})
    asked = {"max_proxies": max_proxies, "n_shot": n_shot, "with_baselines": with_baselines}

    def rows(split: str) -> Results:
        found = tables.load(folder, split) if results is None else _comparable(results, folder, split)
        return found if where is None else subset(found, where)

    validated = None
    if by != TEST:
        try:
            validated = rows(VALIDATION)
            among: dict[str, list[object]] = {"n_shot": [n_shot]}
            if wanted:
                among["task"] = list(wanted)
            if by is None and select(validated.frame, among).empty:
                validated = None
        except (StoreError, ConfigError):
            if by is not None:
                raise
    chosen_from = validated or rows(TEST)
    answer = ranking.best(chosen_from, wanted, **asked)  # type: ignore[arg-type]
    on_test = _on_test(answer, chosen_from, results, folder)
    table = _table(answer)
    if on_test.missing.empty:  # trained on more samples, it may have more proxies
        table.loc[0, "proxies"] = int(on_test.rows["n_proxies"].max())
    table = pd.concat([table, _costs(answer, table, chosen_from)], axis=1)
    return Choice(
        name=str(table["name"].iloc[0]),
        by=TEST if validated is None else VALIDATION,
        accuracy=float(table["accuracy"].iloc[0]),
        test_accuracy=on_test.accuracy,
        cell_id=None if on_test.rows.empty else str(on_test.rows["cell_id"].iloc[0]),
        table=table[[*_FIRST, "lead", "p"]],
        cells=on_test.rows.reset_index(drop=True),
        command=_command(answer, on_test, chosen_from),
        answer=answer,
        tested=on_test,
        results=chosen_from,
    )


_FIRST = ("name", "gen", "baseline", "accuracy", "proxies", "nbytes", "microseconds")


def _check(where: object, counts: Mapping[str, object]) -> None:
    if where is not None and not isinstance(where, str):
        raise ConfigError(
            f'where: expected a condition such as "model == resnet18", got {type(where).__name__}; rows of a DataFrame '
            "can also be chosen before"
        )
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, Integral | None):
            raise ConfigError(f"{name}: expected a whole number or None, got {count!r}")


def _comparable(frame: pd.DataFrame, outputs: Path, split: str) -> Results:
    """The rows of a DataFrame that can be compared."""
    if lacking := [name for name in (*tables.COLUMNS, "status") if name not in frame]:
        raise ConfigError(
            f"results: expected rows as ims.sweep and ims.load_results return them; {', '.join(lacking[:3])} is missing"
        )
    own = parameter_columns(frame)
    rows = frame[[*tables.COLUMNS, *own, "status"]].sort_values("finished_at")
    return tables.comparable(rows, outputs, split, source="the DataFrame")


def _on_test(answer: Best, chosen_from: Results, results: pd.DataFrame | None, outputs: Path) -> Tested:
    """The choice on the test split, by the rows that were given or, where these lack some, by those of the table.

    A sweep may have computed the rows to choose by alone.
    """
    if (chosen_from.frame["split"] == TEST).all():
        return tested(answer, chosen_from.frame)
    if results is not None:
        with suppress(StoreError):
            found = tested(answer, _comparable(results, outputs, TEST).frame)
            if found.missing.empty:
                return found
    try:
        return tested(answer, tables.load(outputs).frame)
    except StoreError:
        return tested(answer, chosen_from.frame[:0])


def _table(answer: Best) -> pd.DataFrame:
    """The winner and its rivals, baselines last."""
    configuration = answer.matrix.configurations.iloc[[answer.winner]]
    winner = {
        "configuration": answer.winner,
        "gen": names.gen(str(configuration["gen"].iloc[0])),
        "baseline": False,
        "name": names.configurations(configuration)[0],
        "proxies": int(answer.proxies[answer.winner]),
        "accuracy": float(answer.matrix.accuracy[:, answer.winner].mean()),
    }
    rivals = answer.rivals.sort_values("baseline", kind="stable").rename(columns={"adjusted": "p", "p": "alone"})
    columns = [*winner, "lead", "p"]
    return pd.DataFrame([winner, *rivals.to_dict("records")]).reindex(columns=columns)


def _costs(answer: Best, table: pd.DataFrame, found: Results) -> pd.DataFrame:
    """What the heads of a table cost here, on the first of the instances."""
    costs = pd.DataFrame({"nbytes": pd.array([pd.NA] * len(table), "Int64"), "microseconds": np.nan})
    (instance,) = records(answer.matrix.instances[list(INSTANCE)].iloc[[0]])
    try:
        task = found.tasks[tuple(instance.values())]
        model = Model.recorded(*(instance[name] for name in MODEL))
        features = Features(EmbeddingCache(found.outputs / "embeddings"), model, task.limit)
        features.open(task, READS[VALIDATION])
    except (EmbeddingsError, StoreError, KeyError):
        return costs
    configurations = records(answer.matrix.configurations)
    for row, (position, proxies) in enumerate(zip(table["configuration"], table["proxies"], strict=True)):
        clf, queries = _head(configurations[position], int(proxies), features, task)
        costs.loc[row, "nbytes"] = clf.nbytes_
        costs.loc[row, "microseconds"] = 1e6 * _seconds_a_query(clf, queries)
    return costs


def _head(configuration: Mapping[str, Any], proxies: int, features: Features, task: Task) -> tuple[Any, Any]:
    """A classifier as large as one of a configuration, samples in the place of proxies; and queries.

    What a query costs depends on how many proxies there are and how they are compared, not on how they were made.
    """
    from imprint_sweep.api.imprinter import Imprinter  # which loads scikit-learn

    each = max(1, -(-proxies // len(task.labels)))
    rows = [features.rows("train", label)[: max(each, QUERIES // len(task.labels))] for label in task.labels]
    known = {name: configuration[name] for name in ("k", "m", "weighting") if configuration[name] is not None}
    clf = Imprinter(
        gen=configuration["gen"], agg=configuration["agg"], metric=configuration["metric"],
        norm_pre="none", norm_post=configuration["norm_post"], norm_inf=configuration["norm_inf"],
        parameters=_parameters(configuration), **known,
    )  # fmt: skip
    queries = np.concatenate(rows)[:: max(1, sum(map(len, rows)) // QUERIES)]
    return clf._holding([of_label[:each] for of_label in rows]), queries


def _seconds_a_query(clf: Any, queries: Any) -> float:
    """On one thread, once everything is compiled: the fastest of three."""
    few = queries[:16]
    with one_core():
        clf.predict(few)
        if (slow := _timed(clf, few)) > SLOW:
            return slow / len(few)
        return min(_timed(clf, queries) for _ in range(3)) / len(queries)


def _timed(clf: Any, queries: Any) -> float:
    start = time.thread_time()
    clf.predict(queries)
    return time.thread_time() - start


def _parameters(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a configuration's components by their names on the command line."""
    own = ((parameter_key(column), value) for column, value in configuration.items())
    return {key: value for key, value in own if key is not None and value is not None}


def _command(answer: Best, on_test: Tested, found: Results) -> str:
    """The sweep that computes the test cells of the best configuration that are missing; of one seed if none is."""
    (known,) = records(answer.matrix.configurations.iloc[[answer.winner]])
    scheme = Scheme(
        **{axis: known[axis] for axis in SCHEME},
        seed=on_test.seeds[0],
        weight_decay=None,
        parameters=tuple(_parameters(known).items()),
    )
    chosen = chosen_scheme(scheme)
    if on_test.missing.empty:
        return filling.command(overrides(chosen), answer.matrix.instances, found, exactly=True)
    del chosen["seed"]
    words = [*overrides(chosen), choices("seed", on_test.seeds)]
    return filling.command(words, on_test.missing, found, exactly=True)
