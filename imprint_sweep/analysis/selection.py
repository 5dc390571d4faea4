"""From the results table to complete numbers: which rows count, medians over seeds, and what is missing.

Nothing is averaged over silently. A :class:`Matrix` has every configuration on every instance under every seed; what
had to be left out for that is named and counted in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis import names
from imprint_sweep.analysis.artefact import Floats
from imprint_sweep.analysis.results import MODEL, SCHEME, TASK
from imprint_sweep.errors import UnknownOptionError

Axes = Mapping[str, Sequence[object]]
"""Column of the results frame -> the values that count; None stands for null."""

INSTANCE = (*MODEL, *TASK)

MAIN_SEEDS = (17121997, 123987, 12412312)
"""The paper's seeds of all comparisons."""

FEW_SEEDS = (14057, 994348, 23092007, 123456, 98765)
"""The paper's seeds of section 5.2, few samples per class."""

ENOUGH = 0.5
"""A configuration, or a seed, that lacks this share or more was not run rather than interrupted."""


@dataclass(frozen=True, eq=False)
class Matrix:
    """Every configuration on every instance under every seed.

    Args:
        instances: (n_i) rows, columns :data:`INSTANCE`, sorted.
        configurations: (n_c) rows, columns :data:`~imprint_sweep.analysis.results.SCHEME`, sorted.
        n_correct: (n_i, n_c) float64, the median over the seeds: a whole number or a half.
        n_test: (n_i,) float64.
        seeds: over which the medians are taken.
        missing: what was left out and why, a sentence each; empty if nothing was.
    """

    instances: pd.DataFrame
    configurations: pd.DataFrame
    n_correct: Floats
    n_test: Floats
    seeds: tuple[int, ...]
    missing: tuple[str, ...]

    @property
    def accuracy(self) -> Floats:
        """(n_i, n_c) float64, shares."""
        return self.n_correct / self.n_test[:, None]


def select(frame: pd.DataFrame, axes: Axes) -> pd.DataFrame:
    """The rows whose columns all have one of the values.

    Args:
        frame: a results frame.
        axes: which columns must have which values.

    Raises:
        UnknownOptionError: there is no such column.
    """
    keep = np.ones(len(frame), np.bool_)
    for name, values in axes.items():
        if name not in frame:
            raise UnknownOptionError("column", name, map(str, frame.columns))
        column = frame[name]
        among = column.isin([value for value in values if value is not None]).to_numpy(np.bool_)
        keep &= among | column.isna().to_numpy(np.bool_) if None in values else among
    return frame[keep]


def seeds_of(
    frame: pd.DataFrame, preferred: Sequence[int] = MAIN_SEEDS, given: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The seeds over which medians are taken.

    Args:
        frame: the rows that count.
        preferred: the paper's; those of them that the rows have, or all seeds of the rows if they have none of these.
        given: the user's own choice (:attr:`~imprint_sweep.analysis.artefact.Options.seeds`), which then decides alone.
    """
    there = {int(seed) for seed in frame["seed"].unique()}
    found = tuple(seed for seed in (preferred if given is None else given) if seed in there)
    return found if found or given is not None else tuple(sorted(there))


def matrix(frame: pd.DataFrame, axes: Axes, seeds: Sequence[int]) -> Matrix:
    """The complete matrix of the medians over seeds.

    What lacks most is left out until nothing is missing. An instance goes before a configuration ("How a comparison is
    made", step 6), but for a configuration that half of the instances or more lack, which was not run rather than
    interrupted. The same holds for a seed that covers no more than half of what another does.

    Args:
        frame: a results frame.
        axes: which rows count.
        seeds: over which medians are taken, see :func:`seeds_of`.
    """
    universe = select(frame, {name: values for name, values in axes.items() if name in INSTANCE})
    rows, sentences = _newest(select(frame, {**axes, "seed": seeds}))
    instance, instances = _groups(rows, INSTANCE)
    configuration, configurations = _groups(rows, SCHEME)
    if rows.empty:
        return Matrix(instances, configurations, np.empty((0, 0)), np.empty(0), (), ())
    seed = pd.Index(seeds).get_indexer(pd.Index(rows["seed"]))

    counts = np.full((len(instances), len(configurations), len(seeds)), np.nan)
    counts[instance, configuration, seed] = rows["n_correct"].to_numpy(np.float64)
    n_test = np.zeros(len(instances))
    n_test[instance] = rows["n_test"].to_numpy(np.float64)

    absent = _names_of_others(universe, instances)
    if absent:
        total = len(absent) + len(instances)
        sentences.append(f"{_of(absent, total, 'instance')} have no such row: {names.some(absent)}.")
    there = ~np.isnan(counts)
    kept_seeds = _run_seeds(there.sum(axis=(0, 1)))
    if not kept_seeds.all():
        left = [str(number) for number, kept in zip(seeds, kept_seeds, strict=True) if not kept]
        sentences.append(f"Seed {', '.join(left)} was left out: it covers less than half of what others cover.")
    lacking = ~there[:, :, kept_seeds].all(axis=2)
    kept_i, kept_c = complete(lacking)
    sentences += _left_out(lacking, kept_i, kept_c, instances, configurations)
    return Matrix(
        instances=instances[kept_i].reset_index(drop=True),
        configurations=configurations[kept_c].reset_index(drop=True),
        n_correct=np.median(counts[np.ix_(kept_i, kept_c, kept_seeds)], axis=2),
        n_test=n_test[kept_i],
        seeds=tuple(int(number) for number, kept in zip(seeds, kept_seeds, strict=True) if kept),
        missing=tuple(sentences),
    )


def complete(lacking: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows (instances) and columns (configurations) to keep so that nothing is lacking.

    Args:
        lacking: (n_i, n_c) bool.

    Returns:
        (n_i,) and (n_c,) bool. Both all False if nothing is left.
    """
    rows, columns = np.ones(lacking.shape[0], np.bool_), np.ones(lacking.shape[1], np.bool_)
    of_row, of_column = lacking.sum(axis=1), lacking.sum(axis=0)
    while of_row.any():
        row, column = int(of_row.argmax()), int(of_column.argmax())
        row_share, column_share = of_row[row] / columns.sum(), of_column[column] / rows.sum()
        if column_share >= ENOUGH and column_share > row_share:
            columns[column] = False
            of_row = of_row - (lacking[:, column] & rows)
            of_column[column] = 0
        else:
            rows[row] = False
            of_column = of_column - (lacking[row] & columns)
            of_row[row] = 0
    if not (rows.any() and columns.any()):
        rows[:], columns[:] = False, False
    return rows, columns


def medians(frame: pd.DataFrame, by: Sequence[str], seeds: Sequence[int]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Medians over seeds in long form, for curves: what is there is shown, what is incomplete is said.

    Args:
        frame: the selected rows.
        by: columns that make a group. A group has one row per seed.
        seeds: which seeds count.

    Returns:
        One row per group, sorted: the columns of `by`, then ``accuracy_median`` (the median of n_correct, divided by
        n_test), ``accuracy_mean``, ``accuracy_std`` (ddof 1; NaN for one seed) and ``seeds`` (how many); and sentences
        on groups that lack seeds.

    Raises:
        ValueError: rows of one group and seed differ in a column that tells cells apart: `by` lacks it.
    """
    rows, sentences = _newest(select(frame, {"seed": seeds}))
    group, table = _groups(rows, by)
    if pd.DataFrame({"group": group, "seed": rows["seed"].to_numpy()}).duplicated().any():
        differing = [name for name in (*INSTANCE, *SCHEME) if name not in by and rows[name].nunique(dropna=False) > 1]
        raise ValueError(f"groups by {', '.join(by)} mix rows that differ in {', '.join(differing)}")
    n_correct = rows["n_correct"].to_numpy(np.float64)
    n_test = rows["n_test"].to_numpy(np.float64)
    grouped = pd.DataFrame({"n_correct": n_correct, "accuracy": n_correct / n_test, "n_test": n_test}).groupby(group)
    table = table.assign(
        accuracy_median=(grouped["n_correct"].median() / grouped["n_test"].first()).to_numpy(),
        accuracy_mean=grouped["accuracy"].mean().to_numpy(),
        accuracy_std=grouped["accuracy"].std(ddof=1).to_numpy(),
        seeds=grouped.size().to_numpy(np.int64),
    )
    few = int((table["seeds"] < len(seeds)).sum())
    if few:
        sentences.append(f"{few:,} of {len(table):,} points stand on fewer than {len(seeds)} seeds.")
    return table, tuple(sentences)


def _newest(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One row per instance, configuration and seed: the newest; and a sentence if others had another result.

    Cells can differ in what is no axis here: a least-squares generator's weight decay, a class list of the same name.
    """
    key = pd.DataFrame(
        {
            "instance": _groups(rows, INSTANCE)[0],
            "configuration": _groups(rows, SCHEME)[0],
            "seed": rows["seed"].to_numpy(),
        },
        index=rows.index,
    )
    older = key.duplicated(keep="last").to_numpy()
    if not older.any():
        return rows, []
    differing = key.assign(n_correct=rows["n_correct"]).drop_duplicates().duplicated(list(key)).sum()
    sentence = f"{differing:,} cells differ from another in nothing but weight decay or class lists; the newest counts."
    return rows[~older], [sentence] if differing else []


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Group numbers of the rows, and the groups as a frame: sorted by their columns, nulls last."""
    grouped = rows.groupby(list(by), observed=True, dropna=False, sort=True)
    number: NDArray[np.int64] = grouped.ngroup().to_numpy().astype(np.int64)
    _, first = np.unique(number, return_index=True)
    return number, rows[list(by)].iloc[first].reset_index(drop=True)


def _run_seeds(cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which seeds were run, of the numbers of cells that each has."""
    run: NDArray[np.bool_] = (cells > 0) & (cells >= ENOUGH * cells.max())
    return run


def _names_of_others(universe: pd.DataFrame, instances: pd.DataFrame) -> list[str]:
    """The instances of the table that are not among some."""
    all_of_them = _groups(universe, INSTANCE)[1]
    known = {tuple(row) for row in instances.astype(str).itertuples(index=False)}
    others = [tuple(row) not in known for row in all_of_them.astype(str).itertuples(index=False)]
    return [name for name, other in zip(names.instances(all_of_them), others, strict=True) if other]


def _left_out(
    lacking: NDArray[np.bool_],
    kept_i: NDArray[np.bool_],
    kept_c: NDArray[np.bool_],
    instances: pd.DataFrame,
    configurations: pd.DataFrame,
) -> list[str]:
    sentences = []
    if not kept_c.all():
        which = [name for name, kept in zip(names.configurations(configurations), kept_c, strict=True) if not kept]
        sentences.append(
            f"{_of(which, len(kept_c), 'configuration')} left out, lacking on half of the instances or more: "
            f"{names.some(which)}."
        )
    if not kept_i.all():
        lacks = lacking[:, kept_c if kept_c.any() else slice(None)].sum(axis=1)
        which = [
            f"{name} (lacks {lack:,})"
            for name, lack, kept in zip(names.instances(instances), lacks, kept_i, strict=True)
            if not kept
        ]
        sentences.append(
            f"{_of(which, len(kept_i), 'instance')} left out, lacking configurations: {names.some(which)}."
        )
    return sentences


def _of(which: Sequence[str], total: int, noun: str) -> str:
    return f"{len(which):,} of {total:,} {noun}{'s' if total != 1 else ''}"
