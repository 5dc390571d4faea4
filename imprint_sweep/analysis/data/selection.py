"""From the results table to complete numbers: which rows count, medians over seeds, and what is missing.

Nothing is averaged over silently. A :class:`Matrix` has every configuration on every instance under every seed; what
had to be left out for that is named and counted in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.artefact import Floats
from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import MODEL, TASK, scheme_columns
from imprint_sweep.errors import UnknownOptionError
from imprint_sweep.wording import counted

Axes = Mapping[str, Sequence[object]]
"""Column of the results frame -> the values that count; None stands for null."""

Slice = Axes | Sequence[Axes]
"""Rows that one block of axes describes, or any of several."""

INSTANCE = (*MODEL, *TASK)

MAIN_SEEDS = (17121997, 123987, 12412312)
"""The paper's seeds of all comparisons."""

FEW_SEEDS = (14057, 994348, 23092007, 123456, 98765)
"""The paper's seeds of section 5.2, few samples per class."""

NOT_RUN = 1 / 2
"""A configuration that this share of the instances lacks, or a seed that covers less than this share of what another
does, was not run rather than interrupted."""

ELSEWHERE = 1 / 3
"""An instance that lacks this share of the configurations or more belongs to another experiment. (Of the three of Table
1, section 5.3 runs two on the joined digits, which are none of the 48 instances.)"""


@dataclass(frozen=True, eq=False)
class Matrix:
    """Every configuration on every instance under every seed.

    Args:
        instances: (n_i) rows, columns :data:`INSTANCE`, sorted.
        configurations: (n_c) rows, columns :func:`~imprint_sweep.analysis.data.results.scheme_columns`, sorted.
        n_correct: (n_i, n_c) float64, the median over the seeds: a whole number or a half.
        n_test: (n_i,) float64.
        seeds: over which the medians are taken.
        missing: what was left out although most of it is there, and why, a sentence each; empty if nothing was.
        elsewhere: instances of the table that lack so many of the configurations that they belong to other experiments:
            rows with the columns :data:`INSTANCE`.
        complete: nothing was left out that a sweep could fill in.
    """

    instances: pd.DataFrame
    configurations: pd.DataFrame
    n_correct: Floats
    n_test: Floats
    seeds: tuple[int, ...]
    missing: tuple[str, ...]
    elsewhere: pd.DataFrame
    complete: bool

    @property
    def accuracy(self) -> Floats:
        """(n_i, n_c) float64, shares."""
        return self.n_correct / self.n_test[:, None]

    def of(self, configurations: NDArray[np.bool_]) -> Matrix:
        """The same with some of the (n_c,) configurations."""
        kept = self.configurations[configurations].reset_index(drop=True)
        return replace(self, configurations=kept, n_correct=self.n_correct[:, configurations])


def select(frame: pd.DataFrame, axes: Slice) -> pd.DataFrame:
    """The rows whose columns all have one of the values.

    Args:
        frame: a results frame.
        axes: which columns must have which values; of several blocks, one must fit.

    Raises:
        UnknownOptionError: there is no such column.
    """
    keep = np.zeros(len(frame), np.bool_)
    for block in _blocks(axes):
        fits = np.ones(len(frame), np.bool_)
        for name, values in block.items():
            if name not in frame:
                raise UnknownOptionError("column", name, map(str, frame.columns))
            column = frame[name]
            among = column.isin([value for value in values if value is not None]).to_numpy(np.bool_)
            fits &= among | column.isna().to_numpy(np.bool_) if None in values else among
        keep |= fits
    return frame[keep]


def under_one_name(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows, with one name for what is equal by construction and goes by several names in the paper.

    ``kmeans`` with k = 1 becomes ``mean``, ``k_least_squares`` with k = 1 ``least_squares``, and the only vote of 1-nn
    loses its weighting (method, "What is equal by construction"). A researcher may have run either.
    """
    one = (frame["k"] == 1).fillna(False).to_numpy(np.bool_)
    mean, least_squares = (one & (frame["gen"] == name).to_numpy(np.bool_) for name in ("kmeans", "k_least_squares"))
    gens = frame["gen"].cat.set_categories(sorted({*frame["gen"].cat.categories, "mean", "least_squares"}))
    return frame.assign(
        gen=gens.mask(mean, "mean").mask(least_squares, "least_squares"),
        k=frame["k"].mask(mean | least_squares),
        weighting=frame["weighting"].mask((frame["m"] == 1).fillna(False)),
    )


def seeds_of(
    frame: pd.DataFrame, preferred: Sequence[int] = MAIN_SEEDS, given: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The seeds over which medians are taken.

    The paper's, as far as the rows have them. If they have none of these, or hardly any beside others of their own (a
    demo, and then a sweep under seed 0), the others.

    Args:
        frame: the rows that count.
        preferred: the paper's.
        given: the user's own choice (:attr:`~imprint_sweep.analysis.artefact.Options.seeds`), which then decides alone.
    """
    seeds, counts = np.unique(frame["seed"], return_counts=True)
    rows = dict(zip(seeds.tolist(), counts.tolist(), strict=True))
    if given is not None:
        return tuple(dict.fromkeys(seed for seed in given if seed in rows))
    papers = tuple(seed for seed in preferred if seed in rows)
    others = tuple(sorted(rows.keys() - set(papers)))
    most_of_papers, most_of_others = (max((rows[seed] for seed in of), default=0) for of in (papers, others))
    return papers if most_of_papers >= NOT_RUN * most_of_others else others


def matrix(frame: pd.DataFrame, axes: Slice, seeds: Sequence[int]) -> Matrix:
    """The complete matrix of the medians over seeds.

    What lacks most is left out until nothing is missing. An instance goes before a configuration ("How a comparison is
    made", step 6), but for a configuration that half of the instances or more lack, which was not run rather than
    interrupted. The same holds for a seed that covers no more than half of what another does.

    Args:
        frame: a results frame.
        axes: which rows count.
        seeds: over which medians are taken, see :func:`seeds_of`.
    """
    rows, sentences = _newest(select(select(frame, axes), {"seed": seeds}))
    instance, instances = _groups(rows, INSTANCE)
    configuration, configurations = _groups(rows, scheme_columns(rows))
    if rows.empty:
        others = _others(universe(frame, axes), instances)
        return Matrix(instances, configurations, np.empty((0, 0)), np.empty(0), (), (), others, False)
    seed = pd.Index(seeds).get_indexer(pd.Index(rows["seed"]))

    counts = np.full((len(instances), len(configurations), len(seeds)), np.nan)
    counts[instance, configuration, seed] = rows["n_correct"].to_numpy(np.float64)
    n_test = np.zeros(len(instances))
    n_test[instance] = rows["n_test"].to_numpy(np.float64)

    there = ~np.isnan(counts)
    run = _run(there.sum(axis=(0, 1)))
    lacking = ~there[:, :, run].all(axis=2)
    kept_i, kept_c = complete(lacking)
    left = _LeftOut(seeds, run, instances, kept_i, configurations, kept_c, lacking)
    others = _others(universe(frame, axes), instances)
    return Matrix(
        instances=instances[kept_i].reset_index(drop=True),
        configurations=configurations[kept_c].reset_index(drop=True),
        n_correct=np.median(counts[np.ix_(kept_i, kept_c, run)], axis=2),
        n_test=n_test[kept_i],
        seeds=tuple(int(number) for number, kept in zip(seeds, run, strict=True) if kept),
        missing=(*sentences, *left.sentences()),
        elsewhere=pd.concat([left.elsewhere(), others], ignore_index=True),
        complete=not left.sentences(),
    )


def basis(matrix: Matrix, preferred: Sequence[int] = MAIN_SEEDS) -> str:
    """On what a matrix stands, a sentence.

    Args:
        matrix: which.
        preferred: the paper's seeds.
    """
    instances, n_c = matrix.instances, len(matrix.configurations)
    models, tasks = (sorted(instances[name].astype(str).unique()) for name in ("model", "task"))
    seeds = [str(seed) for seed in matrix.seeds]
    median = f"the median over the seeds {_and(seeds)}" if len(seeds) > 1 else f"the one seed {seeds[0]}"
    if set(matrix.seeds) <= set(preferred):
        few = f", of the paper's {len(preferred)}" if len(seeds) < len(preferred) else ""
    else:
        few = " (not the paper's)"
    others = matrix.elsewhere
    elsewhere = (
        f" Not compared here: {counted(len(others), 'instance')} lacking a third of it or more "
        f"({', '.join(sorted(others['task'].astype(str).unique()))})."
        if len(others)
        else ""
    )
    return (
        f"{counted(len(instances), 'instance')} ({_and(models)} on {_and(tasks)}), "
        f"{counted(n_c, 'configuration')}; {median}{few}.{elsewhere}"
    )


def universe(frame: pd.DataFrame, axes: Slice) -> pd.DataFrame:
    """The rows of all instances that some axes allow, whatever their configurations."""
    return select(frame, [{name: of for name, of in block.items() if name in INSTANCE} for block in _blocks(axes)])


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
        if column_share >= NOT_RUN and column_share > row_share:
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
    # A row that went early comes back if the columns that it lacks went later.
    rows |= ~lacking[:, columns].any(axis=1)
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
        differing = [
            name
            for name in (*INSTANCE, *scheme_columns(rows))
            if name not in by and rows[name].nunique(dropna=False) > 1
        ]
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
            "configuration": _groups(rows, scheme_columns(rows))[0],
            "seed": rows["seed"].to_numpy(),
        },
        index=rows.index,
    )
    older = key.duplicated(keep="last").to_numpy()
    if not older.any():
        return rows, []
    differing = key.assign(n_correct=rows["n_correct"]).drop_duplicates().duplicated(list(key)).sum()
    sentence = f"Set aside are cells that a newer one differs from in weight decay or class lists alone: {differing:,}."
    return rows[~older], [sentence] if differing else []


def _blocks(axes: Slice) -> Sequence[Axes]:
    return [axes] if isinstance(axes, Mapping) else axes


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Group numbers of the rows, and the groups as a frame: sorted by their columns, nulls last."""
    grouped = rows.groupby(list(by), observed=True, dropna=False, sort=True)
    number: NDArray[np.int64] = grouped.ngroup().to_numpy().astype(np.int64)
    _, first = np.unique(number, return_index=True)
    return number, rows[list(by)].iloc[first].reset_index(drop=True)


def _run(cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which seeds were run, of the numbers of cells that each has."""
    run: NDArray[np.bool_] = (cells > 0) & (cells >= NOT_RUN * cells.max())
    return run


def _others(rows: pd.DataFrame, instances: pd.DataFrame) -> pd.DataFrame:
    """The instances of some rows that are not among some others."""
    all_of_them = _groups(rows, INSTANCE)[1]
    known = {tuple(row) for row in instances.astype(str).itertuples(index=False)}
    others = [tuple(row) not in known for row in all_of_them.astype(str).itertuples(index=False)]
    return all_of_them[others]


@dataclass(frozen=True, eq=False)
class _LeftOut:
    """What a matrix leaves out, and how that is said. Arrays as in :func:`matrix`."""

    seeds: Sequence[int]
    run: NDArray[np.bool_]
    instances: pd.DataFrame
    kept_i: NDArray[np.bool_]
    configurations: pd.DataFrame
    kept_c: NDArray[np.bool_]
    lacking: NDArray[np.bool_]

    def sentences(self) -> list[str]:
        """On seeds and configurations that most lack, and on instances that lack a few."""
        said = []
        if not self.run.all():
            which = [str(seed) for seed, kept in zip(self.seeds, self.run, strict=True) if not kept]
            said.append(f"Seed {_and(which)} left out: less than half of what another seed covers.")
        if not self.kept_c.all():
            which = names.configurations(self.configurations[~self.kept_c])
            said.append(
                f"{_of(which, len(self.kept_c), 'configuration')} left out, lacking on half of the instances or more: "
                f"{names.some(which)}."
            )
        interrupted = ~self.kept_i & (self._lacks < ELSEWHERE)
        if interrupted.any():
            lacks = (self._lacks[interrupted] * self.kept_c.sum()).round().astype(int)
            which = [
                f"{name} (lacks {counted(int(lack), 'configuration')})"
                for name, lack in zip(self._names(interrupted), lacks, strict=True)
            ]
            said.append(f"{_of(which, len(self.kept_i), 'instance')} left out: {names.some(which)}.")
        return said

    def elsewhere(self) -> pd.DataFrame:
        """The instances that lack too many."""
        return self.instances[~self.kept_i & (self._lacks >= ELSEWHERE)]

    @property
    def _lacks(self) -> Floats:
        """(n_i,) which share of the kept configurations each instance lacks; 1 if none was kept."""
        return self.lacking[:, self.kept_c].mean(axis=1) if self.kept_c.any() else np.ones(len(self.kept_i))

    def _names(self, which: NDArray[np.bool_]) -> list[str]:
        all_of_them = names.instances(self.instances)
        return [name for name, chosen in zip(all_of_them, which, strict=True) if chosen]


def _and(words: Sequence[str]) -> str:
    """
    >>> _and(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([*([", ".join(words[:-1])] if len(words) > 1 else []), words[-1]])


def _of(which: Sequence[str], total: int, noun: str) -> str:
    return f"{len(which):,} of {counted(total, noun)}"
