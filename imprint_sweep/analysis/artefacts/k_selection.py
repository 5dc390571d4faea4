"""What choosing k by a rule gains over a given k and loses against the best one, and whether NC1 tells it before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Floats, Options, Panel, Series, Table
from imprint_sweep.analysis.artefacts.about import About, panels_in_words, seeds_in_words, sweep
from imprint_sweep.analysis.artefacts.comparisons import L2, MAX
from imprint_sweep.analysis.artefacts.lines import groups, percent
from imprint_sweep.analysis.data.results import MODEL, TASK, Results
from imprint_sweep.analysis.data.selection import MAIN_SEEDS, medians, seeds_of, select, under_one_name
from imprint_sweep.analysis.rendering import text_of
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.analysis.stats.collapse import relation
from imprint_sweep.analysis.stats.curves import FM, Points, with_models
from imprint_sweep.analysis.stats.ranking import holm, signed_rank
from imprint_sweep.grid.commands import collapse as collapse_command
from imprint_sweep.imprinting.choosing_k import LABELS, LEAST_SAMPLES, MAX_K, candidates
from imprint_sweep.wording import counted

K_SELECTION = About(
    "k_selection",
    "Choosing k by a rule",
    "k",
    "k-means with k chosen by the information criterion of each class (BIC), or by held-out samples within a standard "
    "error of the best (validation), beside k = 1, 5 and 20 and the best of all k tried, which only test data tell. "
    "l2/l2/l2, max; medians over seeds, then means over models and selections of classes; differences in percentage "
    f"points. With fewer than {LEAST_SAMPLES} samples of a class k is 1.",
    "k-means under l2/l2/l2 and max with k chosen by both rules and with k = 1, 5 and 20",
)
REQUEST = "+experiment=k_selection"

AGAINST = ("1", "5", "20")
"""The given k that rules are compared with."""

INSTANCE = (*MODEL, *TASK)
POINT = (*INSTANCE, "n_shot")
"""An instance and a number of shots."""

SHOWN = {"k = 5": ("5", "gen:fps"), "k = 20": ("20", "gen:kmeans"), "best k": ("best", "gen:all"),
         "BIC": ("bic", "gen:kmedoids"), "validation": ("cv_1se", "gen:cov_max")}  # fmt: skip
"""Lines of the figure: label -> (column, colour)."""


def k_selection(results: Results, options: Options) -> Artefact:
    """The gains and losses of each rule, their tests, and the rank correlation of NC1 with what was chosen."""
    frame = with_models(under_one_name(results.frame))
    rows = _rows(frame)
    command = sweep(REQUEST, frame, results)
    seeds = seeds_of(rows, MAIN_SEEDS, options.seeds) if len(rows) else ()
    if not seeds:
        return K_SELECTION.nothing((), [command])
    table, missing = medians(rows, [FM, *POINT, "way"], seeds)
    by_way = rows[rows["seed"].isin(seeds)].groupby([*POINT, "way"], observed=True, dropna=False)
    table = table.merge(by_way[["n_proxies", "n_labels"]].mean().reset_index(), on=[*POINT, "way"])
    points, lacking = _points(table)
    points = points.merge(collapse_table.read(results)[[*INSTANCE, "nc1"]], on=list(INSTANCE), how="left")
    unknown = int(points["nc1"].isna().sum())
    commands = [command] * bool(lacking or missing) + [collapse_command(results.outputs)] * bool(unknown)
    said = [*missing]
    if lacking:
        said.append(f"Left out are {lacking:,} instances and n that lack a rule, or one of k = {', '.join(AGAINST)}.")
    if points.empty:
        return K_SELECTION.nothing(said, commands)
    if unknown:
        said.append(f"NC1 is not known for {unknown:,} of {counted(len(points), 'instance')} and n.")
    tests, correlations = _tests(points), _correlations(points[points["nc1"] > 0], options)
    basis = "; ".join([
        panels_in_words(points), f"{len(points):,} instances and n",
        seeds_in_words(Points(table, seeds, missing), MAIN_SEEDS),
    ])  # fmt: skip
    finding = _finding(tests, correlations, options)
    tables = [_gains(points, finding), _tests_table(tests), _correlations_table(correlations)]
    made = K_SELECTION.artefact(f"{basis}.", said, commands, tables, [_chart(points)])
    return replace(made, finding=finding)


def _rows(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that count, with ``way``: how k came about, a rule or a number."""
    rows = select(frame, {"merge": [None], "limit": [None], "gen": ["kmeans", "mean"], **L2, **MAX})
    k = rows["k"].mask(rows["gen"] == "mean", 1).astype("string")
    rows = rows.assign(way=k.mask(rows["select_rule"].notna(), rows["select_rule"].astype("string")).astype(object))
    tried = rows["select_rule"].isna() | (rows["select_max_k"] == MAX_K).fillna(False)
    of_rules = rows[tried & rows["way"].isin([*LABELS, *map(str, candidates(MAX_K)), *AGAINST])]
    with_rules = of_rules.groupby(list(POINT), observed=True, dropna=False)["select_rule"].transform("count") > 0
    return of_rules[with_rules]


def _points(table: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """A row for each instance and n: the accuracy of each way, and the mean k that each rule and the best k come to.

    Args:
        table: a row for each of them and each way.

    Returns:
        The points that have all of :data:`AGAINST` and both rules: ``accuracy``, ``k`` under (name, way) columns joined
        by a space, as in ``"k bic"``; and how many have not.
    """
    table = table.assign(k=table["n_proxies"] / table["n_labels"])
    heads = table[[FM, *POINT]].drop_duplicates(list(POINT), ignore_index=True)
    number = table.merge(heads.assign(point=np.arange(len(heads))), on=[FM, *POINT])
    k = number.pivot(index="point", columns="way", values="k")
    accuracy = number.pivot(index="point", columns="way", values="accuracy_median")
    accuracy = accuracy.reindex(columns=[*LABELS, *map(str, candidates(MAX_K))])
    given = accuracy[[way for way in accuracy if way not in LABELS]]
    complete = accuracy[[*LABELS, *AGAINST]].notna().all(axis=1).to_numpy()
    points = heads[complete].reset_index(drop=True)
    accuracy, given = accuracy[complete].reset_index(drop=True), given[complete].reset_index(drop=True)
    best = given.round(12).idxmax(axis=1)  # the smallest of equal ones
    points = points.join(accuracy).assign(best=given.max(axis=1))
    for way in LABELS:
        points[f"k {way}"] = k[way][complete].to_numpy(np.float64)
    points["k best"] = best.astype(float)
    return points, int((~complete).sum())


def _may_choose(points: pd.DataFrame) -> pd.DataFrame:
    """The points where a rule has something to choose."""
    return points[(points["n_shot"] >= LEAST_SAMPLES).fillna(True).to_numpy(np.bool_)]


def _shots(n_shot: Any) -> str:
    return "all" if pd.isna(n_shot) else str(n_shot)


def _by_shots(points: pd.DataFrame, by: Sequence[str] = ()) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The points of each group and n, n ascending and all samples last."""
    grouped = points.assign(n=points["n_shot"].fillna(np.iinfo(np.int64).max)).groupby([*by, "n"], observed=True)
    return [((*head[:-1], _shots(rows["n_shot"].iloc[0])), rows) for head, rows in grouped]


def _gains(points: pd.DataFrame, finding: str) -> Table:
    rows = []
    for (task, n), of_n in _by_shots(points, ["task"]):
        for rule, label in LABELS.items():
            mine = of_n[rule]
            row = {"task": task, "n": n, "rule": label, "k": of_n[f"k {rule}"].mean(), "accuracy": mine.mean()}
            row |= {f"over {way}": (mine - of_n[way]).mean() for way in (*AGAINST, "best")}
            rows.append({**row, "k best": of_n["k best"].mean()})
    columns = (
        Column("task", "dataset"), Column("n", "n"), Column("rule", "k by"), Column("k", "proxies of a class", "rank"),
        Column("k best", "best k", "rank"), Column("accuracy", "accuracy, %", "percent"),
        *(Column(f"over {way}", f"less k = {way}", "percent") for way in AGAINST),
        Column("over best", "less best k", "percent"),
    )  # fmt: skip
    return Table(K_SELECTION.name, K_SELECTION.title, columns, pd.DataFrame(rows), finding)


def _tests(points: pd.DataFrame) -> pd.DataFrame:
    """Signed-rank tests of each rule against each given k, over instances and n."""
    points = _may_choose(points)
    rows = []
    for rule, label in LABELS.items():
        for way in AGAINST:
            gain = np.round((points[rule] - points[way]).to_numpy(np.float64), 12)
            counts = {"better": int((gain > 0).sum()), "worse": int((gain < 0).sum()), "equal": int((gain == 0).sum())}
            p = signed_rank(gain) if len(gain) else np.nan
            rows.append({"rule": label, "against": way, "gain": gain.mean() if len(gain) else np.nan, **counts, "p": p})
    table = pd.DataFrame(rows)
    return table.assign(adjusted=holm(table["p"].to_numpy(np.float64)) if len(points) else np.nan)


def _tests_table(tests: pd.DataFrame) -> Table:
    columns = (
        Column("rule", "k by"), Column("against", "against k"), Column("gain", "gain", "percent"),
        *(Column(name, name, "count") for name in ("better", "worse", "equal")),
        Column("p", "p", "p"), Column("adjusted", "p (Holm)", "p"),
    )  # fmt: skip
    note = (
        f"Wilcoxon's signed-rank test over instances and n from {LEAST_SAMPLES} on, corrected for all rows. "
        "Instances of one dataset and several n of one instance are not independent, so p-values are rather too small."
    )
    return Table(f"{K_SELECTION.name}_tests", "Rules against a given k", columns, tests, note)


def _correlations(points: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Spearman's correlation of NC1 with the k of each rule, and with the best, over the instances of each n."""
    rows = []
    for (n,), of_n in _by_shots(_may_choose(points)):
        for way, label in {**LABELS, "best": "test data"}.items():
            found = relation(*(of_n[name].to_numpy(np.float64) for name in ("nc1", f"k {way}")))
            known = {} if found is None else {"spearman": found.spearman, "p": found.p}
            rows.append({"n": n, "rule": label, "points": len(of_n), **known})
    table = pd.DataFrame(rows, columns=["n", "rule", "points", "spearman", "p"])
    adjusted = np.full(len(table), np.nan)
    tested = table["p"].notna().to_numpy()
    adjusted[tested] = holm(table["p"].to_numpy(np.float64)[tested])
    return table.assign(adjusted=adjusted)


def _correlations_table(correlations: pd.DataFrame) -> Table:
    columns = (
        Column("n", "n"), Column("rule", "k by"), Column("points", "instances", "count"),
        Column("spearman", "Spearman", "rank"), Column("p", "p", "p"), Column("adjusted", "p (Holm)", "p"),
    )  # fmt: skip
    note = (
        "NC1 of all training samples of an instance, and the proxies of a class that k came to; corrected for all. "
        "A dash with too few instances, or where all are equal. Selections of classes of one dataset share samples."
    )
    title = "Does NC1 of the training samples predict k?"
    return Table(f"{K_SELECTION.name}_nc1", title, columns, correlations, note)


def _finding(tests: pd.DataFrame, correlations: pd.DataFrame, options: Options) -> str:
    """What the tests say, in sentences."""
    said = []
    for rule, of_rule in tests.groupby("rule", sort=False):
        gains = [
            f"{100 * gain:+.2f} points against k = {way} (p = {text_of(p, 'p')})"
            for way, gain, p in zip(of_rule["against"], of_rule["gain"], of_rule["adjusted"], strict=True)
        ]
        said.append(f"k by {rule}: {', '.join(gains)}.")
    for rule, of_rule in correlations.groupby("rule", sort=False):
        tested = of_rule[of_rule["p"].notna()]
        n = len(tested)
        if n:
            sure = int((tested["adjusted"] <= options.alpha).sum())
            said.append(
                f"NC1 predicts the k of {rule} at {sure} of {n} n (median rank correlation "
                f"{tested['spearman'].median():.2f})."
            )
    return " ".join(said)


def _chart(points: pd.DataFrame) -> Chart:
    names = [n for (n,), _ in _by_shots(points)]  # all samples have no place on an axis of numbers
    shown = [*(column for column, _ in SHOWN.values()), "1"]
    panels = []
    for (fm, task), of_panel in groups(points, [FM, "task"]):
        means = pd.DataFrame({names.index(n): of_n[shown].mean() for (n,), of_n in _by_shots(of_panel)}).T
        place: Floats = means.index.to_numpy(np.float64)
        lines = [
            Series(label, place, percent(means[column] - means["1"]), colour=colour,
                   style="dashed" if column == "best" else "solid")
            for label, (column, colour) in SHOWN.items()
        ]  # fmt: skip
        panels.append(Panel(f"{fm} on {task}", tuple(lines), reference=0.0))
    return Chart(
        K_SELECTION.name,
        K_SELECTION.title,
        tuple(panels),
        "n, training samples per class",
        "Points over k = 1",
        x_names=tuple(names),
        columns=min(3, max(1, len(panels))),
    )
