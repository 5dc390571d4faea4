"""What proxies cost: Table A.2."""

from __future__ import annotations

import numpy as np

from imprint_sweep.analysis.artefact import Artefact, Column, Options, Table
from imprint_sweep.analysis.data import filling, names, published
from imprint_sweep.analysis.data.results import Results, parameter_columns
from imprint_sweep.analysis.data.selection import INSTANCE, MAIN_SEEDS, Axes, complete, seeds_of, select, under_one_name
from imprint_sweep.imprinting.components import GENS

K = (None, 5, 20)
AXES: Axes = {"merge": [None], "remap": [None], "limit": [None], "n_shot": [None], "k": K}
JOINT = [gen for gen, generator in GENS.items() if generator.joint]

WALL_TIME = ("0.1.0",)
"""Package versions that measured wall time, compilation included."""

_NORM: Axes = {"norm_pre": ["l2"]}
_NORM_OF_JOINT: Axes = {"norm_pre": ["none"], "gen": JOINT}
"""That of the training embeddings in the paper's rows: k-means takes its own time on unit vectors."""

COLUMNS = ("mean", "median", "min", "max")
REQUEST = "+experiment=agg_fixed,oracle"


def table_a2(results: Results, options: Options) -> Artefact:
    """CPU time of GEN in seconds: summed over classes, median over seeds; over instances."""
    name, title = "tableA2", "Seconds that GEN takes (Table A.2)"
    caption = (
        "CPU time of GEN, summed over classes: the median over seeds, then over instances. Training embeddings are "
        "unit vectors (pre = l2), for the least-squares generators as they are (pre = none), as in the paper's rows. "
        "Ours is the time of one core, also where a result was shared; the paper's was taken on eight."
    )
    frame = under_one_name(results.frame)
    per_class = [gen for gen in frame["gen"].unique() if gen != "all" and gen not in JOINT]
    rows = select(frame, [{**AXES, **_NORM, "gen": per_class}, {**AXES, **_NORM_OF_JOINT}])
    rows = select(rows, {"seed": seeds_of(rows, MAIN_SEEDS, options.seeds)})
    command = filling.command(REQUEST, rows if len(rows) else frame, results, whole=rows.empty)
    stated = {row["name"]: row for row in published.numbers(name)["methods"]}
    if rows.empty:
        nothing = (
            "Nothing is in the results of a GEN without k, or with k = 5 or 20, on all samples of a whole task: under "
            "pre = l2, or under pre = none for least squares."
        )
        return Artefact(name, title, "times", caption, "", (nothing,), command)

    # Rows that differ in what comes after GEN share its time.
    own = parameter_columns(rows)
    keys = [*INSTANCE, "gen", "k", *own, "seed"]
    times = rows.groupby(keys, observed=True, dropna=False)["gen_seconds"].median().reset_index()
    times["instance"] = times.groupby(list(INSTANCE), observed=True, dropna=False).ngroup()
    times["name"] = names.gens(times)
    seconds = times.pivot_table("gen_seconds", index="instance", columns="name", aggfunc="median")
    kept_i, kept_c = complete(seconds.isna().to_numpy(np.bool_))
    ours = seconds.loc[kept_i, kept_c].agg(list(COLUMNS)).T
    in_order = times.sort_values(["gen", "k", *own], kind="stable")["name"].unique()
    listed = [*stated, *(gen for gen in in_order if gen in ours.index and gen not in stated)]
    frame = ours.reindex(listed).rename_axis("name").reset_index()
    for column in COLUMNS:
        frame[f"paper_{column}"] = frame["name"].map({gen: row[column] for gen, row in stated.items()})

    left = [str(gen) for gen, kept in zip(seconds.columns, kept_c, strict=True) if not kept]
    absent = [gen for gen in stated if gen not in seconds.columns]
    missing = [f"Left out, lacking on half of the instances or more: {names.some(left)}."] if left else []
    missing += [f"Not in the results: {names.some(absent)}."] if absent else []
    older = int(rows["package_version"].isin(WALL_TIME).sum())
    wall = (
        f" {older:,} of {len(rows):,} rows are of version {' or '.join(WALL_TIME)} and hold wall time, which whatever "
        "else ran on the machine lengthens; force=true computes them again."
        if older
        else ""
    )
    hosts = sorted(rows["host"].astype(str).unique())
    columns = [Column("name", "GEN"), *(Column(column, f"{column}, s", "seconds") for column in COLUMNS)]
    columns += [Column(f"paper_{column}", f"paper: {column}, s", "seconds") for column in COLUMNS]
    return Artefact(
        name,
        title,
        "times",
        caption,
        basis=f"{int(kept_i.sum()):,} of {len(kept_i):,} instances, those that every GEN here was run on; "
        f"{'one machine' if len(hosts) == 1 else f'{len(hosts):,} machines, mixed'}.{wall}",
        missing=tuple(missing),
        command=command if missing else None,
        tables=(Table(name, title, tuple(columns), frame),),
    )
