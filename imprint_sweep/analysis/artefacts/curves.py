"""Curves: accuracy over k (Figs 6, 11b, A.6a, A.6b), over shots (Figs 10, A.4) and over d (Fig. A.7).

In the paper the classes of "d in 1" tasks are ImageNet's; here those of any dataset whose classes were merged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Chart, Column, Options, Panel, Series, Table
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
    sweep,
)
from imprint_sweep.analysis.artefacts.comparisons import L2, MAX, NONE
from imprint_sweep.analysis.artefacts.lines import (
    ACCURACY,
    Head,
    beside,
    grid,
    groups,
    percent,
    series,
    stated_over_d,
    wide,
)
from imprint_sweep.analysis.data import names, published
from imprint_sweep.analysis.data.results import MODEL, Results, records
from imprint_sweep.analysis.data.selection import FEW_SEEDS, Axes, select
from imprint_sweep.analysis.stats.curves import (
    FM,
    STANDARD_ERRORS,
    above_from,
    best_k,
    every_sample_from,
    gaps,
    mostly_run,
    over_remaps,
    paper_models,
    points,
    shots,
    spread,
    with_models,
)
from imprint_sweep.embeddings.cache import EmbeddingCache, label_sizes
from imprint_sweep.embeddings.features import Features
from imprint_sweep.grid.cell import Model, Task
from imprint_sweep.store import labels_of

ALL_SHOTS: Axes = {"n_shot": [None]}
GENS = ("kmeans", "kmedoids", "cov_max", "random", "fps")
KS = (1, 2, 3, 5, 10, 20, 50, 100)
FEW_KS = tuple(range(1, 16))
SHOTS = (1, 2, 5, 10, 20, 50, 100, 200, 400, 600, 800, 1000)
SHOT_KS = (1, 5, 20)
SHOT_LINES = ("k = n", *(f"k = {k}" for k in SHOT_KS))

PROXIES = "k, proxies per class"

# Accuracy over k, a line per GEN

FIG6 = About(
    name="fig6",
    title="Proxies per class (Fig. 6)",
    section="gen",
    caption="Accuracy over k, a line per GEN; l2/l2/l2, max, all classes of a dataset. The mean, which is k-means with "
    "k = 1, is a hollow circle; all embeddings as proxies are a dashed line. Median over seeds.",
    needs="a GEN with several k under l2/l2/l2 and max",
)


def fig6(results: Results, options: Options) -> Artefact:
    """Accuracy over k, a line per GEN, a panel per model and dataset."""
    frame = with_models(results.frame)
    axes: Axes = {**UNMERGED, **ALL_SHOTS, **L2, **MAX, "gen": [*GENS, "all"], "k": [None, *KS]}
    found = points(frame, axes, [*PANEL, "gen", "k"], FIG6.seeds, options.seeds)
    # A dataset with nothing but a level has no curve.
    with_k = found.table[found.table["k"].notna()]
    table = mostly_run(found.table.merge(with_k[list(PANEL)].drop_duplicates()), PANEL)
    commands = [sweep("+experiment=fig6", frame, results)]
    if table.empty:
        return FIG6.nothing(found.missing, commands)
    wanted = pd.DataFrame([*((gen, k) for gen in GENS for k in KS), ("all", None)], columns=["gen", "k"])
    absent = gaps(table, PANEL, wanted.astype({"k": "Int64"}), "k")
    lines = {head: _fig6_lines(rows) for head, rows in groups(table, PANEL)}
    return FIG6.artefact(
        basis([panels_in_words(table), seeds_in_words(found, FIG6.seeds)], frame, table),
        [*found.missing, *absent],
        commands if absent or not found.complete else [],
        [_fig6_table(table, paper_models(frame))],
        [grid(FIG6.name, FIG6.title, lines, PROXIES)],
    )


def _fig6_lines(table: pd.DataFrame) -> list[Series]:
    of_gen = dict(groups(table, ["gen"]))
    lines = [
        series(names.gen(gen), of_gen[gen,], "k", "accuracy_median", f"gen:{gen}") for gen in GENS if (gen,) in of_gen
    ]
    mean = table[(table["gen"] == "kmeans") & (table["k"] == 1)]
    if len(mean):
        lines.append(series(names.gen("mean"), mean, "k", "accuracy_median", "gen:mean", "hollow"))
    if ("all",) in of_gen:
        level = percent(of_gen["all",]["accuracy_median"])
        lines.append(Series(names.gen("all"), np.zeros(1), level, style="level", colour="gen:all"))
    return lines


def _fig6_table(table: pd.DataFrame, papers: Mapping[str, str]) -> Table:
    numbers = published.numbers("fig6")
    lines, levels = numbers["lines"], numbers["levels"]
    paper = [(gen, k, at) for gen in lines for k, at in zip(numbers["k"], lines[gen], strict=True)]
    paper += [("kmeans", 1, levels["mean"]), ("all", None, levels["all"])]
    stated = pd.DataFrame(paper, columns=["gen", "k", "accuracy"]).assign(model="resnet18", task="cifar10")
    # Every embedding a proxy: as many as samples.
    everything = "n"
    order = [names.gen(gen) for gen in (*GENS, "all")]
    ours, stated = (
        rows.assign(
            line=pd.Categorical([names.gen(gen) for gen in rows["gen"]], order, ordered=True),
            k=rows["k"].astype(object).fillna(everything),
        )
        for rows in (table.rename(columns={"accuracy_median": "accuracy"}), stated)
    )
    return wide(
        FIG6.name,
        FIG6.title,
        beside(ours, stated, [*PANEL, "line"], [*KS, everything], papers),
        [Column(FM, "model"), Column("task", "dataset"), Column("line", "GEN")],
        [*KS, everything],
        "k = n: every embedding is a proxy. k-means with k = 1 is the mean.",
    )


# Accuracy over shots

_SHOTS_CAPTION = (
    "Accuracy over n samples per class (log axis); k-means with k = 1, 5, 20, and every sample a proxy (k = n); "
    "l2/l2/l2, max, all classes of a dataset. With n of k or fewer, k is n. Median over seeds ± 1.96 standard errors "
    "(sd / √seeds), as in the paper."
)
_SHOTS_NEED = "k-means or all samples under l2/l2/l2 and max with several numbers of shots"
FIG10 = About("fig10", "Few samples per class (Fig. 10)", "n_shot", _SHOTS_CAPTION, _SHOTS_NEED, FEW_SEEDS)
FIG_A4 = About(
    "figA4", "Few samples per class, n from 10 to 400 (Fig. A.4)", "n_shot", _SHOTS_CAPTION, _SHOTS_NEED, FEW_SEEDS
)


def _over_shots(about: About, ns: Sequence[int], results: Results, options: Options) -> Artefact:
    frame = with_models(results.frame)
    axes: Axes = {**UNMERGED, **L2, **MAX, "gen": ["kmeans", "all"]}
    found = points(frame, {**axes, "n_shot": ns}, [*PANEL, "gen", "k", "n_shot"], about.seeds, options.seeds)
    ends = _every_sample_from(results, select(frame, {**UNMERGED, **L2, **MAX}))
    commands = [sweep("+experiment=n_shot", frame, results)]
    table = shots(found.table, SHOT_KS)
    heads = table[list(PANEL)].itertuples(index=False, name=None)
    table = table[table["n_shot"].to_numpy() < np.array([ends.get(head, math.inf) for head in heads])]
    table = mostly_run(_with_bands(table), PANEL)
    if table.empty:
        return about.nothing(found.missing, commands)
    wanted = pd.DataFrame([(line, n) for line in SHOT_LINES for n in ns], columns=["line", "n_shot"])
    absent = gaps(table, PANEL, wanted, "n_shot", ends)
    lines = {head: _shot_lines(rows) for head, rows in groups(table, PANEL)}
    # Without a limit there is no place on a log axis; the table has it.
    whole = points(frame, {**axes, **ALL_SHOTS}, [*PANEL, "gen", "k", "n_shot"], found.seeds, found.seeds)
    unlimited = _with_bands(shots(whole.table, SHOT_KS))
    return about.artefact(
        basis([panels_in_words(table), seeds_in_words(found, about.seeds)], frame, table) + _repeated(ends, table, ns),
        [*found.missing, *absent],
        commands if absent or not found.complete else [],
        [_shots_table(about, table, unlimited), *([_crossings(table)] if about is FIG10 else [])],
        [grid(about.name, about.title, lines, "n, samples per class", x_scale="log")],
    )


def _every_sample_from(results: Results, rows: pd.DataFrame) -> dict[Head, int]:
    """From which n on a draw only repeats what is there, by panel: as the rows tell, else the headers of embeddings."""
    found = every_sample_from(rows, PANEL)
    newest = records(rows.drop_duplicates(list(PANEL), keep="last"))
    cache = EmbeddingCache(results.outputs / "embeddings")
    there = cache.root.is_dir()  # a table that came without its embeddings tells no more
    others = [row for row in newest if there and tuple(row[name] for name in PANEL) not in found]
    labels = labels_of(results.outputs / "results", [row["cell_id"] for row in others]) if others else []
    for row, of_row in zip(others, labels, strict=True):
        model = Model.recorded(*(row[name] for name in MODEL))
        task = Task(row["task"], "all", of_row)
        if Features(cache, model, None).recorded(task) == row["fingerprint"]:
            sizes = label_sizes(model, task, "train", cache.header)
            shots = rows.loc[(rows[FM] == row[FM]) & (rows["task"] == row["task"]), "n_shot"]
            above = shots[shots >= max(sizes)] if sizes else shots[:0]
            if len(above):
                found[row[FM], row["task"]] = int(above.min()) + (not shots.isna().any())
    return found


def _repeated(ends: Mapping[Head, int], table: pd.DataFrame, ns: Sequence[int]) -> str:
    """A sentence on the n that are not shown, as no class has so many samples; empty if there is none."""
    which = [
        f"{fm} on {task} from n = {min(n for n in ns if n >= ends[fm, task]):,}"
        for fm, task in table[list(PANEL)].drop_duplicates().itertuples(index=False)
        if ends.get((fm, task), math.inf) <= max(ns)
    ]
    return f" Not shown, as no class has so many samples and all are drawn: {names.some(which)}." if which else ""


def _with_bands(table: pd.DataFrame) -> pd.DataFrame:
    half = STANDARD_ERRORS * table["accuracy_std"] / np.sqrt(table["seeds"])
    return table.assign(half=half)


def _shot_lines(table: pd.DataFrame) -> list[Series]:
    of_line = dict(groups(table, ["line"]))
    colours = ["gen:all", *(f"order:{place}/{len(SHOT_KS)}" for place in range(1, len(SHOT_KS) + 1))]
    return [
        series(line, of_line[line,], "n_shot", "accuracy_median", colour, half="half")
        for line, colour in zip(SHOT_LINES, colours, strict=True)
        if (line,) in of_line
    ]


def _shots_table(about: About, table: pd.DataFrame, unlimited: pd.DataFrame) -> Table:
    both = pd.concat([table, unlimited.merge(table[list(PANEL)].drop_duplicates())])
    both = both.assign(n=both["n_shot"].astype(object).fillna("all")).sort_values([*PANEL, "n_shot"], kind="stable")
    by = [*PANEL, "n"]
    median = spread(both, by, "line", SHOT_LINES, "accuracy_median")
    half = spread(both, by, "line", SHOT_LINES, "half")
    columns = [Column(FM, "model"), Column("task", "dataset"), Column("n", "n")]
    frame = median[by]
    for line in SHOT_LINES:
        frame = frame.assign(**{line: median[f"line={line}"], f"{line} ±": half[f"line={line}"]})
        columns += [Column(line, line, "percent"), Column(f"{line} ±", "±", "percent")]
    note = (
        "Accuracy in percent; ± is 1.96 standard errors over the seeds (sd / √seeds), as in the paper: around a median "
        "of so few it covers less than 95 %. n = all: every training sample."
    )
    return Table(about.name, about.title, tuple(columns), frame, note)


def _crossings(table: pd.DataFrame) -> Table:
    """From which n on a line of k-means lies above the mean, and above all samples."""
    rows: list[dict[str, Any]] = []
    for head, of_panel in groups(table, PANEL):
        at = of_panel.pivot(index="n_shot", columns="line", values="accuracy_median").reindex(columns=SHOT_LINES)
        row: dict[str, Any] = dict(zip(PANEL, head, strict=True))
        for k in SHOT_KS[1:]:
            for other in ("k = 1", "k = n"):
                row[f"k = {k}, {other}"] = above_from(at.index.tolist(), at[f"k = {k}"].tolist(), at[other].tolist())
        rows.append(row)
    heads = [f"k = {k}, {other}" for k in SHOT_KS[1:] for other in ("k = 1", "k = n")]
    columns = [Column(FM, "model"), Column("task", "dataset")]
    columns += [Column(head, head.replace(", ", " above "), "count") for head in heads]
    return Table(
        f"{FIG10.name}_crossings",
        "From which n on a line lies above another",
        tuple(columns),
        pd.DataFrame(rows, columns=[*PANEL, *heads]).astype(dict.fromkeys(heads, "Int64")),
        "At that n and at every larger one of the figure, by the median over seeds; a dash where it does not at the "
        "largest. k = 1 is the mean, k = n all samples.",
    )


# Accuracy over k and over d, for labels of several modes


@dataclass(frozen=True)
class Modes:
    """Accuracy over k = 1..15 of one generator on "d in 1" tasks and on whole datasets.

    Args:
        about: what the artefact is.
        gen: the generator.
        norm: under which normalisation.
        requests: the experiments that feed it: on whole datasets, on "d in 1" tasks.
        published: the file with the paper's points, None if they are not known.
    """

    about: About
    gen: str
    norm: Axes
    requests: tuple[str, str]
    published: str | None = None


_KMEANS = ("+experiment=collapse_other", "+experiment=collapse_imagenet")
_ORACLE = ("+experiment=collapse_other_oracle", "+experiment=collapse_imagenet_oracle")
_LINES = (
    'a line per d of "d in 1" tasks (median over seeds, then mean over remaps), a dashed line per dataset (median over '
    "seeds)."
)
FIG_11B = Modes(
    About(
        "fig11b",
        "Proxies per class and modes per class (Fig. 11b)",
        "collapse",
        f"k-means, l2/l2/l2, max: accuracy over k, {_LINES}",
        "k-means with k = 1..15 under l2/l2/l2 and max",
    ),
    "kmeans",
    L2,
    _KMEANS,
    "fig11b",
)
FIG_A6A = Modes(
    About(
        "figA6a",
        "The same without normalisation of embeddings (Fig. A.6a)",
        "collapse",
        f"k-means, none/l2/l2, max: accuracy over k, {_LINES}",
        "k-means with k = 1..15 under none/l2/l2 and max",
    ),
    "kmeans",
    {**L2, "norm_pre": ["none"]},
    _KMEANS,
)
FIG_A6B = Modes(
    About(
        "figA6b",
        "The same with k-least-squares (Fig. A.6b)",
        "collapse",
        f"k-least-squares, none/none/none, max: accuracy over k, {_LINES}",
        "k-least-squares with k = 1..15 under none/none/none and max",
    ),
    "k_least_squares",
    NONE,
    _ORACLE,
)


def _over_k(modes: Modes, results: Results, options: Options) -> Artefact:
    about, frame = modes.about, with_models(results.frame)
    axes: Axes = {**WHOLE, **ALL_SHOTS, **modes.norm, **MAX, "gen": [modes.gen], "k": FEW_KS}
    found = points(frame, axes, [*TASK, "remap", "k"], about.seeds, options.seeds)
    table = lines_run(over_remaps(found.table, [*TASK, "k"], "accuracy_median"))
    absent, commands = modes_missing(frame, table, FEW_KS, modes.requests, results, complete=found.complete)
    if table.empty:
        return about.nothing(found.missing, commands)
    return about.artefact(
        basis([panels_in_words(table), merges_in_words(table), seeds_in_words(found, about.seeds)], frame, table),
        [*found.missing, *absent],
        commands,
        [_over_k_table(modes, table, paper_models(frame))],
        [_over_k_chart(about, table)],
    )


def _over_k_chart(about: About, table: pd.DataFrame) -> Chart:
    ds = sorted(table["merge"].dropna().unique())
    sources = sorted(table.loc[table["merge"].notna(), "task"].unique())
    panels = []
    for (fm,), rows in groups(table, [FM]):
        datasets = [
            series(str(task), of_task, "k", "mean", f"dataset:{task}", "dashed")
            for (task,), of_task in groups(rows[rows["merge"].isna()], ["task"])
        ]
        merged = rows[rows["merge"].notna()]
        for source in sorted(merged["task"].unique()) or [None]:
            lines = [
                series(f"d = {d}", of_d, "k", "mean", f"order:{ds.index(d) + 1}/{len(ds)}")
                for (d,), of_d in groups(merged[merged["task"] == source], ["merge"])
            ]
            title = f"{fm}, classes of {source}" if len(sources) > 1 and source else str(fm)
            panels.append(Panel(title, (*lines, *datasets)))
    return Chart(about.name, about.title, tuple(panels), PROXIES, ACCURACY, columns=min(2, len(panels)))


def _over_k_table(modes: Modes, table: pd.DataFrame, papers: Mapping[str, str]) -> Table:
    ours = table.rename(columns={"mean": "accuracy"})
    stated = published.curves(modes.published) if modes.published else None
    frame = beside(ours, stated, TASK, FEW_KS, papers)
    columns = [Column(FM, "model"), Column("task", "dataset"), Column("merge", "d")]
    note = "Medians over seeds. d: classes merged into a label, mean over remaps; a dash for the dataset as it is."
    return wide(modes.about.name, modes.about.title, frame, columns, FEW_KS, note)


FIG_A7 = About(
    "figA7",
    "Modes per class (Fig. A.7)",
    "collapse",
    'Accuracy over d of "d in 1" tasks, max: the mean and k-means under l2/l2/l2, least squares and k-least-squares '
    "under none/none/none, with the k of 1..15 that is best at each d. Median over seeds, then mean over remaps.",
    'k-means or k-least-squares with k = 1..15 and max on "d in 1" tasks',
)
_A7_GENS: dict[str, Axes] = {"kmeans": L2, "k_least_squares": NONE}
_A7_LINES = ("mean", "kmeans", "least_squares", "k_least_squares")
_ONE_PROXY = {"kmeans": "mean", "k_least_squares": "least_squares"}


def fig_a7(results: Results, options: Options) -> Artefact:
    """Accuracy over d: one proxy and the best number of them, imprinted and by least squares."""
    frame = with_models(results.frame)
    axes = [{**WHOLE, **ALL_SHOTS, **norm, **MAX, "gen": [gen], "k": FEW_KS} for gen, norm in _A7_GENS.items()]
    found = points(frame, axes, [*TASK, "remap", "gen", "k"], FIG_A7.seeds, options.seeds)
    table = over_remaps(found.table[found.table["merge"].notna()], [*TASK, "gen", "k"], "accuracy_median")
    wanted = pd.DataFrame([(gen, k) for gen in _A7_GENS for k in FEW_KS], columns=["gen", "k"])
    absent = [*gaps(table, TASK, wanted, "k"), *merge_missing(frame, table)]
    of_gen = {gen: table[table["gen"] == gen] for gen in _A7_GENS}
    tasks = len(table[list(TASK)].drop_duplicates())
    commands = [
        merged_sweep(request, frame, results)
        for request, rows in zip((_KMEANS[1], _ORACLE[1]), of_gen.values(), strict=True)
        if len(rows) < tasks * len(FEW_KS) or table.empty or merge_missing(frame, rows) or not found.complete
    ]
    if table.empty:
        return FIG_A7.nothing(found.missing, commands)
    ones = [rows[rows["k"] == 1].assign(line=_ONE_PROXY[gen]) for gen, rows in of_gen.items()]
    bests = [best_k(rows, TASK).assign(line=gen) for gen, rows in of_gen.items()]
    lines = pd.concat([*ones, *bests], ignore_index=True).sort_values(list(TASK), kind="stable")
    return FIG_A7.artefact(
        f"{'; '.join([panels_in_words(table), merges_in_words(table), seeds_in_words(found, FIG_A7.seeds)])}.",
        [*found.missing, *absent],
        commands,
        [_a7_table(lines, paper_models(frame))],
        [
            grid(
                FIG_A7.name,
                FIG_A7.title,
                {head: _a7_lines(rows) for head, rows in groups(lines, PANEL)},
                "d, classes merged into a label",
            )
        ],
    )


def _a7_lines(table: pd.DataFrame) -> list[Series]:
    of_line = dict(groups(table, ["line"]))
    return [
        series(_a7_name(line), of_line[line,], "merge", "mean", f"gen:{line}")
        for line in _A7_LINES
        if (line,) in of_line
    ]


def _a7_name(line: str) -> str:
    return names.gen(line) + (", best k" if line in _A7_GENS else "")


def _a7_table(lines: pd.DataFrame, papers: Mapping[str, str]) -> Table:
    accuracy = spread(lines, TASK, "line", _A7_LINES, "mean")
    k = spread(lines, TASK, "line", _A7_LINES, "k")
    frame = accuracy[list(TASK)]
    columns = [Column(FM, "model"), Column("task", "dataset"), Column("merge", "d")]
    for line in _A7_LINES:
        frame = frame.assign(**{line: accuracy[f"line={line}"]})
        columns.append(Column(line, names.gen(line), "percent"))
        if line in _A7_GENS:
            frame = frame.assign(**{f"{line}_k": k[f"line={line}"].astype("Int64")})
            columns.append(Column(f"{line}_k", "best k", "count"))
    frame = frame.assign(paper=stated_over_d(frame, published.numbers("figA7")["least_squares"], papers) / 100)
    if frame["paper"].notna().any():
        columns.append(Column("paper", "paper: least squares", "percent"))
    return Table(FIG_A7.name, FIG_A7.title, tuple(columns), frame, "Accuracy in percent; the best k is that of each d.")


CURVES: dict[str, Callable[[Results, Options], Artefact]] = {
    "fig6": fig6,
    "fig10": partial(_over_shots, FIG10, SHOTS),
    "figA4": partial(_over_shots, FIG_A4, [n for n in SHOTS if 10 <= n <= 400]),
    "fig11b": partial(_over_k, FIG_11B),
    "figA6a": partial(_over_k, FIG_A6A),
    "figA6b": partial(_over_k, FIG_A6B),
    "figA7": fig_a7,
}
"""Name -> what makes it."""
