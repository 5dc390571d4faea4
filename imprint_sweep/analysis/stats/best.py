"""The practical question: which configuration is best on these tasks, by how much, and is that more than chance?

Rows of any split can be ranked. What is chosen by held-out samples is then looked up on the test split
(:func:`tested`), which the choice has not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imprint_sweep.analysis.data import names
from imprint_sweep.analysis.data.results import Results, is_baseline, records, scheme_columns
from imprint_sweep.analysis.data.selection import (
    FEW_SEEDS,
    INSTANCE,
    MAIN_SEEDS,
    Matrix,
    matrix,
    seeds_of,
    select,
    under_one_name,
)
from imprint_sweep.analysis.stats import ranking
from imprint_sweep.errors import ConfigError, UnknownOptionError
from imprint_sweep.imprinting.components import (
    AGGREGATIONS,
    GENS,
    METRICS,
    ClassMetric,
    DenseMetric,
    FittedMetric,
    ProductMetric,
    Voting,
)


@dataclass(frozen=True, eq=False)
class Best:
    """The best configuration and what it is better than.

    Args:
        matrix: what was ranked: n_i instances, n_c configurations.
        winner: which configuration has the best average rank, baselines apart; of several the one with the fewest
            proxies, then ``max``, then the cheapest metric.
        same: configurations with the winner's result on every instance.
        rivals: one row per other GEN, the best configuration of each, best rank first: ``configuration`` (a position),
            ``gen``, ``baseline`` (whether it is one), ``name``, ``proxies``, ``accuracy`` (mean, a share), ``rank``
            (average, among all n_c), ``lead`` (of the winner, mean difference of accuracies), ``wins``, ``ties`` and
            ``losses`` of the winner, ``p`` (signed-rank test), ``adjusted`` (Holm's correction over the rivals).
        ranks: (n_c,) average ranks.
        proxies: (n_c,) proxies of all labels together, the most on any instance.
        over_budget: how many configurations were left out because they have more proxies than allowed.
    """

    matrix: Matrix
    winner: int
    same: tuple[int, ...]
    rivals: pd.DataFrame
    ranks: NDArray[np.float64]
    proxies: NDArray[np.int64]
    over_budget: int


def best(
    results: Results,
    tasks: Sequence[str] = (),
    *,
    max_proxies: int | None = None,
    n_shot: int | None = None,
    with_baselines: bool = False,
) -> Best:
    """Rank all configurations over the instances of some tasks.

    Quick tries (``limit``) and merged classes ("d in 1") count only where there is nothing else. The p-values do not
    know of the choice: they are of the same rows.

    Args:
        results: the rows that count.
        tasks: names of tasks; all of the table by default.
        max_proxies: the memory budget: proxies of all labels together, on every instance.
        n_shot: training samples per label; None for all.
        with_baselines: rank gens that are no imprinting, too. They are rivals, and never the winner.

    Raises:
        UnknownOptionError: there is no such task in the results.
        ConfigError: nothing is left to rank.
    """
    frame = results.frame
    known = [str(name) for name in frame["task"].unique()]
    for name in tasks:
        if name not in known:
            raise UnknownOptionError("task", name, known)
    rows = select(frame, {"task": list(tasks) or known, "n_shot": [n_shot]})
    if rows.empty:
        shots = sorted(int(n) for n in select(frame, {"task": list(tasks) or known})["n_shot"].dropna().unique())
        raise ConfigError(
            f"no row of {', '.join(tasks) or 'the results'} has n_shot = {'null' if n_shot is None else n_shot}; there "
            f"is n_shot = {', '.join(map(str, shots)) or 'null'}"
        )
    imprinted = ~is_baseline(rows)
    if not imprinted.any():
        others = " and ".join(names.gen(gen) for gen in rows["gen"].unique())
        raise ConfigError(
            f"there is nothing but baselines ({others}), which are no imprinting: there is nothing to choose from"
        )
    if not with_baselines:
        rows = rows[imprinted]
    whole = select(rows, {"limit": [None], "merge": [None]})
    rows = under_one_name(rows if whole.empty else whole)
    rows, over_budget = _within(rows, max_proxies)
    found = matrix(rows, {}, seeds_of(rows, MAIN_SEEDS if n_shot is None else FEW_SEEDS))
    if not found.n_correct.size:
        raise ConfigError(" ".join(["no configuration has a result on any instance under every seed.", *found.missing]))

    proxies = _proxies(rows, found.configurations)
    ranks = ranking.ranks_within(found.n_correct).mean(axis=0)
    preferred = _preferred(found.configurations, proxies, ranks)
    gens = found.configurations["gen"].astype(str).to_numpy()
    apart = is_baseline(found.configurations)
    winner = next((c for c in preferred if not apart[c]), None)
    if winner is None:
        raise ConfigError(" ".join(["nothing but baselines has a result on every instance.", *found.missing]))
    counts = found.n_correct
    equal = (counts == counts[:, [winner]]).all(axis=0)
    equal[winner] = False
    # A gen that is compared by a metric that is a baseline is another rival than the gen alone.
    of_gen: dict[tuple[str, bool], int] = {}
    for configuration in preferred:
        of_gen.setdefault((gens[configuration], apart[configuration]), configuration)
    rivals = [configuration for gen, configuration in of_gen.items() if gen != (gens[winner], False)]
    return Best(
        matrix=found,
        winner=winner,
        same=tuple(np.flatnonzero(equal).tolist()),
        rivals=_against(found, winner, rivals, ranks, proxies),
        ranks=ranks,
        proxies=proxies,
        over_budget=over_budget,
    )


@dataclass(frozen=True, eq=False)
class Tested:
    """A configuration on the test split.

    Args:
        rows: of its test cells, one for each instance and seed, in their order.
        missing: the instances of which cells are missing: rows with the columns of the matrix's instances.
        seeds: those that are needed: one where nothing is drawn, else those of the matrix.
    """

    rows: pd.DataFrame
    missing: pd.DataFrame
    seeds: tuple[int, ...]

    @property
    def accuracy(self) -> float | None:
        """The median over the seeds, and of these the mean over the instances; None if a cell is missing."""
        if len(self.missing):
            return None
        by_instance = self.rows.groupby(list(INSTANCE), observed=True, dropna=False)["accuracy"]
        return float(by_instance.median().mean())


def tested(answer: Best, frame: pd.DataFrame) -> Tested:
    """The best configuration on the test split, on the instances and under the seeds of its choice.

    Args:
        answer: the choice, by whatever split.
        frame: a results frame of the test split.
    """
    found = answer.matrix
    (configuration,) = records(found.configurations.iloc[[answer.winner]])
    axes = {name: [value] for name, value in configuration.items() if value is not None or name in frame}
    rows = select(under_one_name(frame), axes) if set(axes) <= set(frame) else frame[:0]
    draws = configuration["n_shot"] is not None or configuration["select_rule"] is not None
    draws |= GENS[configuration["gen"]].draws(configuration["k"])
    seeds = found.seeds if draws else found.seeds[:1]
    cells, missing = [], []
    for position, instance in enumerate(records(found.instances)):
        mine = select(rows, {name: [value] for name, value in instance.items()})
        of_seeds = [mine[mine["seed"] == seed].tail(1) for seed in seeds]
        if not draws and of_seeds[0].empty:
            of_seeds = [mine.tail(1)]  # any seed will do
        cells += of_seeds
        if any(cell.empty for cell in of_seeds):
            missing.append(position)
    return Tested(pd.concat(cells), found.instances.iloc[missing], tuple(seeds))


def _within(rows: pd.DataFrame, max_proxies: int | None) -> tuple[pd.DataFrame, int]:
    """The rows of configurations within a budget on every instance, and how many configurations are not."""
    if max_proxies is None:
        return rows, 0
    configuration = rows.groupby(scheme_columns(rows), observed=True, dropna=False)["n_proxies"]
    most = configuration.transform("max")
    fits = (most <= max_proxies).to_numpy(np.bool_)
    if not fits.any():
        least = rows.iloc[int(most.to_numpy(np.int64).argmin())]
        raise ConfigError(
            f"no configuration has at most {max_proxies:,} proxies; the fewest are {most.min():,}, of "
            f"{names.gen(least['gen'], None if pd.isna(least['k']) else least['k'])}"
        )
    return rows[fits], int((configuration.max() > max_proxies).sum())


def _proxies(rows: pd.DataFrame, configurations: pd.DataFrame) -> NDArray[np.int64]:
    most = rows.groupby(scheme_columns(rows), observed=True, dropna=False)["n_proxies"].max()
    index = pd.MultiIndex.from_frame(configurations)
    return most.reindex(index).to_numpy(np.int64)


def _by_effort() -> list[str]:
    """The metrics, the cheapest first."""
    kinds = (ProductMetric, DenseMetric, FittedMetric, ClassMetric)

    def effort(name: str) -> tuple[int, bool, str]:
        metric = METRICS[name]
        return next(i for i, kind in enumerate(kinds) if isinstance(metric, kind)), metric.is_distance, name

    return sorted(METRICS, key=effort)


def _preferred(configurations: pd.DataFrame, proxies: NDArray[np.int64], ranks: NDArray[np.float64]) -> list[int]:
    """All configurations, the best first."""
    by_effort = {metric: place for place, metric in enumerate(_by_effort())}
    metric = configurations["metric"].astype(object).map(lambda name: by_effort.get(name, len(by_effort)))
    votes = [name for name, aggregation in AGGREGATIONS.items() if isinstance(aggregation, Voting)]
    voting = configurations["agg"].isin(votes).to_numpy(np.bool_)
    order = np.lexsort((metric.to_numpy(np.int64), voting, proxies, ranks))
    return [int(configuration) for configuration in order]


def _against(
    found: Matrix, winner: int, rivals: Sequence[int], ranks: NDArray[np.float64], proxies: NDArray[np.int64]
) -> pd.DataFrame:
    counts, positions = found.n_correct, np.array(rivals, np.int64)
    differences = counts[:, [winner]] - counts[:, positions]
    p = np.array([ranking.signed_rank(column / found.n_test) for column in differences.T])
    return pd.DataFrame(
        {
            "configuration": positions,
            "gen": [names.gen(gen) for gen in found.configurations["gen"].iloc[positions]],
            "baseline": is_baseline(found.configurations.iloc[positions]),
            "name": names.configurations(found.configurations.iloc[positions]),
            "proxies": proxies[positions],
            "accuracy": found.accuracy[:, positions].mean(axis=0),
            "rank": ranks[positions],
            "lead": (differences / found.n_test[:, None]).mean(axis=0),
            "wins": (differences > 0).sum(axis=0),
            "ties": (differences == 0).sum(axis=0),
            "losses": (differences < 0).sum(axis=0),
            "p": p,
            "adjusted": ranking.holm(p),
        }
    )
