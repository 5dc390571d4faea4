"""Neural collapse, and what several proxies gain by it: Fig. 11a (NC1) and Fig. 12 (the gain against NC1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Kind, Options, Panel, Series, Table
from imprint_sweep.analysis.artefacts.about import (
    PANEL,
    TASK,
    UNMERGED,
    WHOLE,
    About,
    basis,
    lines_run,
    merge_missing,
    merged_sweep,
    merges_in_words,
    modes_missing,
    panels_in_words,
    seeds_in_words,
)
from imprint_sweep.analysis.artefacts.comparisons import L2, MAX
from imprint_sweep.analysis.artefacts.curves import ALL_SHOTS
from imprint_sweep.analysis.artefacts.lines import groups, stated_over_d
from imprint_sweep.analysis.data import names, published
from imprint_sweep.analysis.data.results import Results
from imprint_sweep.analysis.data.selection import Axes, select
from imprint_sweep.analysis.stats import collapse_table
from imprint_sweep.analysis.stats.collapse import ENOUGH, Relation, relation
from imprint_sweep.analysis.stats.curves import (
    FM,
    STANDARD_ERRORS,
    over_remaps,
    paper_models,
    points,
    spread,
    with_models,
)
from imprint_sweep.grid.commands import collapse as collapse_command
from imprint_sweep.wording import counted

_SPLIT = 1.0
"""The NC1 at which the paper draws a line and splits its points: of its own, published centring."""

_GAIN = "Gain of k = 5 over k = 1 (points)"

FIG_11A = About(
    "fig11a",
    "Neural collapse (Fig. 11a)",
    "collapse",
    'NC1 of the training embeddings; the lower, the more a class is one point. Over d of "d in 1" tasks: mean over '
    "remaps ± 1.96 standard errors. Of whole datasets: linear below 1, logarithmic above.",
    "NC1 of the models and datasets",
)


def fig11a(results: Results, options: Options) -> Artefact:
    """NC1 over d, and of each dataset."""
    frame = with_models(results.frame)
    nc1 = _nc1(results, options)
    known = nc1[nc1["value"].notna()]
    whole, merged = known[known["merge"].isna()], known[known["merge"].notna()]
    unknown = _unknown(nc1, published=True)
    absent = merge_missing(frame, over_remaps(nc1[nc1["merge"].notna()], TASK, "value"))
    commands = [merged_sweep("+experiment=collapse_imagenet", frame, results)] if absent else []
    commands += [collapse_command(results.outputs)] if unknown or absent else []
    if known.empty:
        return FIG_11A.nothing([*unknown, *absent], commands)
    tables, figures = [], []
    papers, numbers = paper_models(frame), published.numbers("fig11a")
    if len(merged):
        over_d = _over_d(merged)
        tables.append(_over_d_table(over_d, numbers["imagenet"], papers, options))
        figures.append(_over_d_chart(over_d, options))
    if len(whole):
        tables.append(_datasets_table(whole, numbers["datasets"], papers, options))
        figures.append(_datasets_chart(whole, options))
    return FIG_11A.artefact(
        f"{panels_in_words(known)}; {merges_in_words(_over_d(merged))}.", [*unknown, *absent], commands, tables, figures
    )


def _nc1(results: Results, options: Options) -> pd.DataFrame:
    """NC1 of all models and whole datasets of the results, merged or not: ``value`` as the options centre it."""
    found = select(with_models(collapse_table.read(results)), WHOLE)
    chosen = "nc1" if options.nc_centering == "own" else "nc1_published"
    return found.assign(value=found[chosen])


def _unknown(nc1: pd.DataFrame, *, published: bool) -> list[str]:
    """Sentences on what NC1 was not computed of, also with published centring if that is shown."""
    found = []
    lacking = nc1[nc1["nc1"].isna()]
    if len(lacking):
        found.append(f"NC1 is not known for {len(lacking):,} of {len(nc1):,}: {names.some(names.instances(lacking))}.")
    older = nc1[nc1["nc1"].notna() & nc1["nc1_published"].isna()]
    if published and len(older):
        found.append(
            f"NC1 with published centring is not known for {len(older):,} of {len(nc1):,}, of which an older version "
            f"measured something else: {names.some(names.instances(older))}."
        )
    return found


def _axis(options: Options) -> str:
    return "NC1" if options.nc_centering == "own" else "NC1, published centring"


def _over_d(merged: pd.DataFrame) -> pd.DataFrame:
    """Means over remaps, with what is drawn to either side of them, and the mean of either centring."""
    table = over_remaps(merged, TASK, "value")
    for name in ("nc1", "nc1_published"):
        table[name] = over_remaps(merged, TASK, name)["mean"]
    return table.assign(half=STANDARD_ERRORS * table["std"] / np.sqrt(table["remaps"]))


def _over_d_chart(table: pd.DataFrame, options: Options) -> Chart:
    panels = []
    for (task,), of_task in groups(table, ["task"]):
        lines = []
        for (fm,), rows in groups(of_task, [FM]):
            ordered = rows.sort_values("merge")
            d, mean, half = (ordered[name].to_numpy(np.float64) for name in ("merge", "mean", "half"))
            around = None if np.isnan(half).all() else np.nan_to_num(half)
            low, high = (None, None) if around is None else (mean - around, mean + around)
            lines.append(Series(str(fm), d, mean, low, high, colour=f"model:{fm}"))
        panels.append(Panel(f"classes of {task}", tuple(lines)))
    return Chart(
        FIG_11A.name,
        "NC1 over d (Fig. 11a, top)",
        tuple(panels),
        "d, classes merged into a label",
        _axis(options),
        columns=min(2, len(panels)),
    )


def _over_d_table(
    table: pd.DataFrame, stated: dict[str, list[float]], papers: dict[str, str], options: Options
) -> Table:
    frame = table.assign(paper=stated_over_d(table, stated, papers))
    columns = [Column("merge", "d"), Column("remaps", "remaps", "count")]
    return _table(FIG_11A.name, "NC1 over d (Fig. 11a, top)", frame, columns, options)


def _datasets_chart(whole: pd.DataFrame, options: Options) -> Chart:
    tasks = sorted(whole["task"].unique())
    lines = [
        Series(
            str(fm),
            np.array([tasks.index(task) for task in rows["task"]], np.float64),
            rows["value"].to_numpy(np.float64),
            style="points",
            colour=f"model:{fm}",
        )
        for (fm,), rows in groups(whole.sort_values("task"), [FM])
    ]
    return Chart(
        f"{FIG_11A.name}_datasets",
        "NC1 of datasets (Fig. 11a, bottom)",
        (Panel("", tuple(lines), reference=_SPLIT if options.nc_centering == "published" else None),),
        "",
        _axis(options),
        y_scale="symlog",
        x_names=tuple(tasks),
    )


def _datasets_table(
    whole: pd.DataFrame, stated: dict[str, dict[str, float]], papers: dict[str, str], options: Options
) -> Table:
    rows = whole.sort_values(list(PANEL), ignore_index=True)
    paper = [
        stated.get(papers.get(fm, ""), {}).get(task, np.nan) for fm, task in rows[list(PANEL)].itertuples(index=False)
    ]
    columns = [Column("n_samples", "samples", "count")]
    name = f"{FIG_11A.name}_datasets"
    return _table(name, "NC1 of datasets (Fig. 11a, bottom)", rows.assign(paper=paper), columns, options)


def _table(name: str, title: str, frame: pd.DataFrame, columns: Sequence[Column], options: Options) -> Table:
    """NC1 in either centring, and the paper's, which centres as the column before it does."""
    band = [Column("half", "±", "number")] if "half" in frame else []
    own, published_ = [Column("nc1", "NC1", "number")], [Column("nc1_published", "NC1, published centring", "number")]
    (own if options.nc_centering == "own" else published_).extend(band)
    paper = [Column("paper", "paper", "number")] if frame["paper"].notna().any() else []
    notes = ["± is 1.96 standard errors over the remaps (sd / √remaps)."] if band else []
    notes += ["The paper's numbers have the published centring."] if paper else []
    heads = [Column(FM, "model"), Column("task", "dataset")]
    return Table(name, title, (*heads, *columns, *own, *published_, *paper), frame, " ".join(notes))


FIG_12 = About(
    "fig12",
    "What several proxies gain, against NC1 (Fig. 12)",
    "collapse",
    "A point per model and dataset, and per model and d: NC1 (log axis) and the accuracy of k-means with k = 5 less "
    "that with k = 1; l2/l2/l2, max; mean over seeds, then over remaps. The line is least squares on log10 NC1.",
    "k-means with k = 1 and 5 under l2/l2/l2 and max, and NC1 of the same models and tasks",
)
_K = (1, 5)
_REQUESTS = ("+experiment=collapse_other k=1,5", "+experiment=collapse_imagenet k=1,5")


def fig12(results: Results, options: Options) -> Artefact:
    """The gain of five proxies over one against NC1."""
    frame = _each_once(with_models(results.frame))
    axes: Axes = {**WHOLE, **ALL_SHOTS, **L2, **MAX, "gen": ["kmeans"], "k": _K}
    found = points(frame, axes, [*TASK, "remap", "k"], FIG_12.seeds, options.seeds)
    instance = [*TASK, "remap"]
    both = spread(found.table, instance, "k", _K, "accuracy_mean").dropna(subset=["k=1", "k=5"])
    joined = both.merge(_nc1(results, options), on=instance)
    unknown = _unknown(joined, published=options.nc_centering == "published")
    table = _gains(joined[joined["value"].notna()])
    accuracies = lines_run(over_remaps(found.table, [*TASK, "k"], "accuracy_mean"))
    absent, commands = modes_missing(frame, accuracies, _K, _REQUESTS, results, complete=found.complete)
    commands += [collapse_command(results.outputs)] if unknown or commands else []
    missing = [*found.missing, *absent, *unknown]
    positive = table["nc1"] > 0
    if not positive.all():
        missing.append(f"{counted(int((~positive).sum()), 'point')} with an NC1 of 0 have no place on a log axis.")
        table = table[positive]
    if table.empty:
        return FIG_12.nothing(missing, commands)
    fit = relation(*(table[name].to_numpy(np.float64) for name in ("nc1", "gain")))
    return FIG_12.artefact(
        basis(
            [
                counted(len(table), "point"),
                panels_in_words(table),
                merges_in_words(table),
                seeds_in_words(found, FIG_12.seeds),
            ],
            frame,
            accuracies,
        ),
        missing,
        commands,
        [_fit_table(table, options), _gains_table(table, options)],
        [_gains_chart(table, fit, options)],
    )


def _each_once(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without "1 in 1" tasks that are a whole dataset of the results, which would count twice.

    Of ImageNet's 100 classes such a task has ten; of ten classes it has all.
    """
    whole = select(frame, UNMERGED).groupby("task", observed=True)["n_labels"].max()
    same = (frame["merge"] == 1).fillna(False) & (frame["n_labels"] == frame["task"].astype(str).map(whole))
    return frame[~same]


def _gains(joined: pd.DataFrame) -> pd.DataFrame:
    """A point per row: means over remaps of NC1, of both accuracies, and of the gain in percentage points."""
    rows = joined.assign(gain=100 * (joined["k=5"] - joined["k=1"]))
    table = over_remaps(rows, TASK, "value").rename(columns={"mean": "nc1"}).drop(columns="std")
    for name in ("k=1", "k=5", "gain"):
        table[name] = over_remaps(rows, TASK, name)["mean"]
    return table


def _gains_chart(table: pd.DataFrame, fit: Relation | None, options: Options) -> Chart:
    points_of = []
    for (fm, task), of_panel in groups(table, PANEL):
        for merged in (True, False):
            rows = of_panel[of_panel["merge"].notna() == merged].sort_values("nc1")
            if len(rows):
                nc1, gain = (rows[name].to_numpy(np.float64) for name in ("nc1", "gain"))
                marker = f"{task}, d in 1" if merged else str(task)
                points_of.append(Series(str(fm), nc1, gain, style="points", colour=f"model:{fm}", marker=marker))
    note = (
        "" if fit is None else f"Spearman {fit.spearman:.2f} (p = {fit.p:.2g}), slope {fit.slope:.2f}, R² {fit.r2:.2f}"
    )
    return Chart(
        FIG_12.name,
        FIG_12.title,
        (Panel("", tuple(points_of)),),
        _axis(options),
        _GAIN,
        x_scale="log",
        note=note,
        fit=None if fit is None else (fit.slope, fit.intercept),
    )


def _fit_table(table: pd.DataFrame, options: Options) -> Table:
    """Rank correlation and fit of all points beside the paper's; with its centring also on either side of NC1 = 1."""
    of = {"all": ("all", table)}
    if options.nc_centering == "published":
        above = table[table["nc1"] > _SPLIT]
        of |= {
            "below_1": ("NC1 < 1", table[table["nc1"] < _SPLIT]),
            "above_1": ("NC1 > 1", above),
            "above_1_imagenet": ('NC1 > 1, "d in 1"', above[above["merge"].notna()]),
        }
    stated = published.numbers("fig12")
    rows = []
    for key, (name, rows_of) in of.items():
        fit = relation(rows_of["nc1"].to_numpy(np.float64), rows_of["gain"].to_numpy(np.float64))
        ours = {} if fit is None else {"spearman": fit.spearman, "p": fit.p, "slope": fit.slope, "r2": fit.r2}
        paper = {f"paper_{value}": stated[key][value] for value in ("spearman", "p", "slope", "r2")}
        rows.append({"points": name, "n": len(rows_of), **ours, **paper})
    kinds: dict[str, tuple[str, Kind]] = {
        "spearman": ("Spearman", "rank"), "p": ("p", "p"), "slope": ("slope", "rank"), "r2": ("R²", "rank")
    }  # fmt: skip
    columns = [Column("points", "points"), Column("n", "n", "count")]
    columns += [Column(value, title, kind) for value, (title, kind) in kinds.items()]
    columns += [Column(f"paper_{value}", f"paper: {title}", kind) for value, (title, kind) in kinds.items()]
    return Table(
        f"{FIG_12.name}_fit",
        "The gain against NC1: rank correlation, and least squares on log10 NC1",
        tuple(columns),
        pd.DataFrame(rows).reindex(columns=[column.name for column in columns]),
        f"Slope in percentage points per factor of ten. A dash with fewer than {ENOUGH} points or where all are equal. "
        f"The paper's {stated['n_points']} points have NC1 with its published centring"
        + ("." if options.nc_centering == "published" else ", and so has their split at NC1 = 1 (--published)."),
    )


def _gains_table(table: pd.DataFrame, options: Options) -> Table:
    remaps = table["remaps"].where(table["merge"].notna()).astype("Int64")
    shares = table.assign(gain=table["gain"] / 100, remaps=remaps)
    columns = (
        Column(FM, "model"),
        Column("task", "dataset"),
        Column("merge", "d"),
        Column("remaps", "remaps", "count"),
        Column("nc1", _axis(options), "number"),
        *(Column(f"k={k}", f"k = {k}", "percent") for k in _K),
        Column("gain", "gain", "percent"),
    )
    return Table(FIG_12.name, FIG_12.title, columns, shares, "Accuracy in percent; a dash for a dataset as it is.")


COLLAPSE: dict[str, Callable[[Results, Options], Artefact]] = {"fig11a": fig11a, "fig12": fig12}
"""Name -> what makes it."""
