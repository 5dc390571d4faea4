"""What proxies cost: Table A.2."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imprint_sweep.analysis import filling, names, published
from imprint_sweep.analysis.artefact import Artefact, Column, Options, Table
from imprint_sweep.analysis.results import Results
from imprint_sweep.analysis.selection import INSTANCE, MAIN_SEEDS, Axes, complete, seeds_of, select, under_one_name

K = (None, 5, 20)
AXES: Axes = {"merge": [None], "remap": [None], "limit": [None], "n_shot": [None], "k": K}
COLUMNS = ("mean", "median", "min", "max")
REQUEST = "+experiment=agg_fixed,oracle"


def table_a2(results: Results, options: Options) -> Artefact:
    """Compute time of GEN in seconds: summed over classes, median over seeds; over instances."""
    name, title = "tableA2", "Seconds that GEN takes (Table A.2)"
    caption = (
        "Compute time of GEN, summed over classes: the median over seeds and over NORM of the training embeddings "
        "(pre), then over instances. Ours is the time of one core, also where a result was shared; the paper's was "
        "taken on eight."
    )
    frame = under_one_name(results.frame)
    rows = select(frame, AXES)
    rows = rows[rows["gen"] != "all"]
    rows = select(rows, {"seed": seeds_of(rows, MAIN_SEEDS, options.seeds)})
    command = filling.command(REQUEST, rows if len(rows) else frame)
    stated = {row["name"]: row for row in published.numbers(name)["methods"]}
    if rows.empty:
        nothing = "Nothing is in the results of a GEN without k, or with k = 5 or 20, on all samples of a whole task."
        return Artefact(name, title, "times", caption, "", (nothing,), command)

    # A time belongs to a GEN and what goes into it: rows that differ in what comes later share it.
    keys = [*INSTANCE, "gen", "k", "norm_pre", "seed"]
    times = rows.groupby(keys, observed=True, dropna=False)["gen_seconds"].median().reset_index()
    times["instance"] = times.groupby(list(INSTANCE), observed=True, dropna=False).ngroup()
    gens = zip(times["gen"], times["k"], strict=True)
    times["name"] = [names.gen(gen, None if pd.isna(k) else int(k)) for gen, k in gens]
    seconds = times.pivot_table("gen_seconds", index="instance", columns="name", aggfunc="median")
    kept_i, kept_c = complete(seconds.isna().to_numpy(np.bool_))
    ours = seconds.loc[kept_i, kept_c].agg(list(COLUMNS)).T
    in_order = times.sort_values(["gen", "k"], kind="stable")["name"].unique()
    listed = [*stated, *(gen for gen in in_order if gen in ours.index and gen not in stated)]
    frame = ours.reindex(listed).rename_axis("name").reset_index()
    for column in COLUMNS:
        frame[f"paper_{column}"] = frame["name"].map({gen: row[column] for gen, row in stated.items()})

    left = [str(gen) for gen, kept in zip(seconds.columns, kept_c, strict=True) if not kept]
    absent = [gen for gen in stated if gen not in seconds.columns]
    missing = [f"Left out, lacking on half of the instances or more: {names.some(left)}."] if left else []
    missing += [f"Not in the results: {names.some(absent)}."] if absent else []
    hosts = sorted(rows["host"].astype(str).unique())
    columns = [Column("name", "GEN"), *(Column(column, f"{column}, s", "seconds") for column in COLUMNS)]
    columns += [Column(f"paper_{column}", f"paper: {column}, s", "seconds") for column in COLUMNS]
    return Artefact(
        name,
        title,
        "times",
        caption,
        basis=f"{int(kept_i.sum()):,} of {len(kept_i):,} instances, those that every GEN here was run on; "
        f"{'one machine' if len(hosts) == 1 else f'{len(hosts):,} machines, mixed'}.",
        missing=tuple(missing),
        command=command if missing else None,
        tables=(Table(name, title, tuple(columns), frame),),
    )
