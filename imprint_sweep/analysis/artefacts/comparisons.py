"""Comparisons of methods, GENs, NORMs and AGGs: Figs 2, 5, 7, 8, 9, A.1 to A.3, Table 1, and what goes beyond them.

A :class:`Focus` says which slice of the table is looked at and what is compared in it; everything else is one way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from imprint_sweep.analysis.artefact import Artefact, Options
from imprint_sweep.analysis.data import filling, names, published
from imprint_sweep.analysis.data.results import Results, records
from imprint_sweep.analysis.data.selection import (
    MAIN_SEEDS,
    Axes,
    Matrix,
    basis,
    matrix,
    seeds_of,
    select,
    under_one_name,
    universe,
)
from imprint_sweep.analysis.stats import comparison
from imprint_sweep.grid.scheme import COMPONENTS
from imprint_sweep.wording import counted

DISTANCES = ("euclidean", "cosine", "manhattan", "mahalanobis")
"""The metrics of agg_focus under m-nn; max has the inner product, too."""

WEIGHTINGS = ("inverse_distance", "uniform")
"""The weightings of agg_focus."""

Names = Callable[[pd.DataFrame], list[str]]
"""From configurations (:data:`~imprint_sweep.analysis.data.results.SCHEME`) to the name of each."""

MAIN: Axes = {"merge": [None], "remap": [None], "limit": [None], "n_shot": [None]}
"""Whole tasks, all training samples."""

MAX: Axes = {"agg": ["max"], "metric": ["inner_product"]}
K = (1, 2, 3, 5, 10, 20)
NORM = ("norm_pre", "norm_post", "norm_inf")
POST = ("none", "l2", "quantile")
L2: Axes = {"norm_pre": ["l2"], "norm_post": ["l2"], "norm_inf": ["l2"]}
NONE: Axes = {"norm_pre": ["none"], "norm_post": ["none"], "norm_inf": ["none"]}
NORMS: tuple[Axes, ...] = (
    {"norm_pre": ["none"], "norm_post": POST, "norm_inf": ["none", "l2"]},
    {"norm_pre": ["l2"], "norm_post": POST, "norm_inf": ["l2"]},
)
"""The nine of section 5.1: proxies made from unit vectors are not asked with queries of any length."""

MEAN: Axes = {"gen": ["mean"]}

METHODS: dict[str, Axes] = {
    "Oracle (least squares)": {"gen": ["least_squares"], **NONE, **MAX},
    "Ours (the paper's)": {"gen": ["kmeans"], "k": [20], **L2, **MAX},
    "Qi et al. 2018": {**MEAN, **L2, **MAX},
    "Janson et al. 2022": {**MEAN, **NONE, "agg": ["mnn"], "metric": ["euclidean"], "m": [1]},
    "Hosoda et al. 2024": {**MEAN, **NONE, "norm_post": ["quantile"], **MAX},
}
"""The five of Fig. 2, under the names of :func:`~imprint_sweep.analysis.data.selection.under_one_name`."""


def marked(methods: Mapping[str, Axes]) -> dict[str, Axes]:
    """The same methods, with names that say which of them are no imprinting."""

    def baseline(axes: Axes) -> bool:
        named = ((registry, name) for field, registry in COMPONENTS.items() for name in axes.get(field, ()))
        return any(name in registry and registry[str(name)].baseline for registry, name in named)

    return {f"{name}, baseline" if baseline(axes) else name: axes for name, axes in methods.items()}


BEYOND = marked(
    {
        **METHODS,
        "k-means, log-sum-exp": {"gen": ["kmeans"], "k": [20], **L2, "agg": ["lse"], "metric": ["inner_product"]},
        "k-NN, softmax votes": {
            "gen": ["all"],
            **L2,
            "agg": ["mnn"],
            "metric": ["cosine"],
            "m": [20],
            "weighting": ["softmax"],
        },
        "Mean, metric of FeCAM": {**MEAN, **NONE, "agg": ["max"], "metric": ["class_mahalanobis"]},
        "Linear discriminant": {"gen": ["lda"], "k": [1], **NONE, **MAX},
        "RanPAC": {"gen": ["ranpac"], **NONE, **MAX},
        "Logistic regression": {"gen": ["logistic"], **NONE, **MAX},
    }
)
"""Those of the paper, and of others."""


@dataclass(frozen=True)
class Focus:
    """One comparison of the paper.

    Args:
        name, title, section: of the artefact.
        caption: what is compared, in sentences.
        blocks: the slice, without :data:`MAIN`.
        component: the value of each configuration that is compared.
        head: what the values are.
        request: what would compute the slice, as on the command line.
        best: what a value's best configuration is called; None if a value has but one.
        equal: use one name for what is equal by construction.
        colour: what a value is coloured as, from the row of its configuration; None for all in ink.
        values: the values that belong to the comparison; empty for those of which the paper states an accuracy.
        settings: columns in which the values are compared like with like: configurations with settings that not every
            value was run with do not count.
        noise: whether the paper says of it that differences lie within statistical noise.
    """

    name: str
    title: str
    section: str
    caption: str
    blocks: Sequence[Axes]
    component: Names
    head: str
    request: str
    best: Names | None = None
    equal: bool = False
    colour: Names | None = None
    values: Sequence[str] = ()
    settings: Sequence[str] = ()
    noise: bool = False


def norms(frame: pd.DataFrame) -> list[str]:
    """NORM as pre/post/inf."""
    return [names.norm(*norm) for norm in zip(frame["norm_pre"], frame["norm_post"], frame["norm_inf"], strict=True)]


def ks_and_norms(frame: pd.DataFrame) -> list[str]:
    """k, where there is one, and NORM."""
    return [norm if pd.isna(k) else f"k = {k}, {norm}" for k, norm in zip(frame["k"], norms(frame), strict=True)]


def gens(frame: pd.DataFrame) -> list[str]:
    """GEN without its k."""
    return [names.gen(gen) for gen in frame["gen"]]


def gens_and_ks(frame: pd.DataFrame) -> list[str]:
    """GEN with its k, where there is one."""
    return [names.gen(gen, None if pd.isna(k) else k) for gen, k in zip(frame["gen"], frame["k"], strict=True)]


def metrics(frame: pd.DataFrame) -> list[str]:
    """The metric of AGG."""
    return [names.metric(metric) for metric in frame["metric"]]


def weightings(frame: pd.DataFrame) -> list[str]:
    """The weighting of the votes of AGG."""
    return [str(weighting).replace("_", " ") for weighting in frame["weighting"]]


def norms_and_aggs(frame: pd.DataFrame) -> list[str]:
    """NORM, and AGG with its metric and weighting."""
    shown = [names.agg(*row.values()) for row in records(frame[["agg", "metric", "m", "weighting"]])]
    return [f"{norm}, {agg}" for norm, agg in zip(norms(frame), shown, strict=True)]


def aggs(frame: pd.DataFrame) -> list[str]:
    """AGG without its weighting."""
    columns = (frame["agg"], frame["metric"], frame["m"])
    return [names.agg(agg, metric, None if pd.isna(m) else m) for agg, metric, m in zip(*columns, strict=True)]


def methods(frame: pd.DataFrame, of: Mapping[str, Axes] = METHODS) -> list[str]:
    """The method that each configuration is, by default of those of Fig. 2."""
    found = pd.Series("", frame.index)
    for method, axes in of.items():
        found[select(frame, axes).index] = method
    return found.tolist()


def _gens(name: str, title: str, ks: Sequence[int]) -> Focus:
    many: Axes = {"gen": ["kmeans", "kmedoids", "cov_max", "random", "fps"], "k": ks}
    return Focus(
        name=name,
        title=title,
        section="gen",
        caption=f"Each GEN with its best k of {', '.join(map(str, ks))} and its best NORM (pre/post/inf), under max. "
        "k-means with k = 1 is the mean, and counts as k-means too.",
        blocks=[{**gen, **norm, **MAX} for gen in (many, MEAN) for norm in NORMS],
        component=gens,
        head="GEN",
        request="+experiment=agg_fixed",
        best=ks_and_norms,
        settings=NORM,
        colour=lambda frame: [f"gen:{gen}" for gen in frame["gen"]],
    )


def _norms_of(name: str, title: str, caption: str, gen: Axes, request: str) -> Focus:
    return Focus(
        name=name,
        title=title,
        section="norm",
        caption=caption,
        blocks=[{**gen, **norm, **MAX} for norm in NORMS],
        component=norms,
        head="pre/post/inf",
        request=f"+experiment=agg_fixed {request}",
        equal=True,
    )


def _aggs(name: str, title: str, proxies: str, gen: Axes, request: str) -> Focus:
    weighting = [None, "inverse_distance"]  # a single vote has none
    mnn: Axes = {"agg": ["mnn"], "metric": ["euclidean"], "m": [1, 3, 5, 20, 50], "weighting": weighting}
    return Focus(
        name=name,
        title=title,
        section="agg",
        caption=f"{proxies}, l2/l2/l2; votes of the m nearest are weighted by inverse Euclidean distance. With unit "
        "lengths the nearest proxy is the one with the largest inner product, so max and 1-nn are the same.",
        blocks=[{**gen, **L2, **agg} for agg in (MAX, mnn)],
        component=aggs,
        head="AGG",
        request=f"+experiment=agg_focus {request} norm=l2",
        equal=True,
    )


def _metrics(name: str, proxies: str, gen: Axes, request: str) -> Focus:
    mnn: Axes = {"agg": ["mnn"], "metric": DISTANCES}
    return Focus(
        name=f"metrics{name}",
        title=f"Metrics, {proxies}",
        section="agg",
        caption=f"Each metric with its best NORM (pre/post/inf), number of voters and weighting; {proxies}. An inner "
        "product is no distance: it votes under max alone.",
        blocks=[{**gen, **norm, **agg} for norm in NORMS for agg in ({"agg": ["max"]}, mnn)],
        component=metrics,
        head="metric",
        request=f"+experiment=agg_focus {request}",
        best=norms_and_aggs,
        equal=True,
        values=[names.metric(metric) for metric in ("inner_product", *DISTANCES)],
        settings=NORM,
        noise=True,
    )


def _weightings(name: str, proxies: str, gen: Axes, request: str) -> Focus:
    mnn: Axes = {"agg": ["mnn"], "metric": DISTANCES, "m": [3, 5, 20, 50]}
    return Focus(
        name=f"weightings{name}",
        title=f"Weightings of votes, {proxies}",
        section="agg",
        caption="Votes that count alike (uniform) and votes that count by inverse distance, each with its best NORM "
        f"(pre/post/inf), metric and number of voters, three or more; {proxies}. A single vote needs no weight.",
        blocks=[{**gen, **norm, **mnn} for norm in NORMS],
        component=weightings,
        head="weighting",
        request=f"+experiment=agg_focus {request}",
        best=norms_and_aggs,
        values=[weighting.replace("_", " ") for weighting in WEIGHTINGS],
        settings=(*NORM, "metric", "m"),
        noise=True,
    )


_PROXIES: tuple[tuple[str, str, Axes, str], ...] = (
    ("All", "every embedding a proxy", {"gen": ["all"]}, "gen=all"),
    ("20", "k-means with k = 20", {"gen": ["kmeans"], "k": [20]}, "gen=kmeans k=20"),
    ("5", "k-means with k = 5", {"gen": ["kmeans"], "k": [5]}, "gen=kmeans k=5"),
)
"""Name, words, axes and request of the proxies whose votes are compared."""

FOCI = (
    Focus(
        name="fig2",
        title="Five methods (Fig. 2)",
        section="headline",
        caption="Three methods of the literature, the paper's, and an oracle that sees all classes at once.",
        blocks=list(METHODS.values()),
        component=methods,
        head="method",
        request="+experiment=fig2",
        equal=True,
    ),
    Focus(
        name="baselines",
        title="Beyond the paper",
        section="headline",
        caption="The methods of Fig. 2 beside others: the log-sum-exp of 20 proxies a class, and softmax votes of the "
        "20 nearest of all embeddings, both at temperature 0.07; class means under the metric of FeCAM, without its "
        "power of features. A baseline is no imprinting.",
        blocks=list(BEYOND.values()),
        component=partial(methods, of=BEYOND),
        head="method",
        request="+experiment=baselines",
        equal=True,
        values=list(BEYOND),
    ),
    _gens("fig5", "How proxies are made, up to 20 a class (Fig. 5)", K),
    _gens("figA1", "How proxies are made, up to 5 a class (Fig. A.1)", [k for k in K if k <= 5]),
    Focus(
        name="fig7",
        title="Normalisation of the proxies (Fig. 7)",
        section="norm",
        caption="One proxy a class, the mean, under max: each NORM of the proxies (post) with its best NORM of "
        "training embeddings (pre) and queries (inf).",
        blocks=[{**MEAN, **norm, **MAX} for norm in NORMS],
        component=lambda frame: frame["norm_post"].astype(str).tolist(),
        head="post",
        request="+experiment=agg_fixed gen=mean",
        best=norms,
        equal=True,
    ),
    Focus(
        name="table1",
        title="Normalisation of embeddings and queries (Table 1)",
        section="norm",
        caption="One proxy a class, the mean, made unit length (post = l2), under max: NORM as pre/post/inf. The "
        "length of a query decides nothing under max.",
        blocks=[{**MEAN, **norm, "norm_post": ["l2"], **MAX} for norm in NORMS],
        component=norms,
        head="pre/post/inf",
        request="+experiment=agg_fixed gen=mean",
        equal=True,
    ),
    _norms_of(
        "figA2",
        "All normalisations, k-means with k = 1 (Fig. A.2)",
        "NORM as pre/post/inf under max. The one centre of k-means with k = 1 is the mean.",
        MEAN,
        "gen=mean",
    ),
    _norms_of(
        "figA3",
        "All normalisations, k-means with k = 20 (Fig. A.3)",
        "NORM as pre/post/inf under max.",
        {"gen": ["kmeans"], "k": [20]},
        "gen=kmeans k=20",
    ),
    _aggs(
        "fig8",
        "How all embeddings vote (Fig. 8)",
        "Every training embedding is a proxy (gen = all)",
        {"gen": ["all"]},
        "gen=all",
    ),
    _aggs(
        "fig9",
        "How 20 proxies vote (Fig. 9)",
        "k-means with k = 20",
        {"gen": ["kmeans"], "k": [20]},
        "gen=kmeans k=20",
    ),
    *(_metrics(*proxies) for proxies in _PROXIES),
    *(_weightings(*proxies) for proxies in _PROXIES),
    Focus(
        name="oracles",
        title="The oracle with one and with 20 weight vectors a class (appendix A.5)",
        section="gen",
        caption="Least squares, and least squares on the 20 clusters of each class (k-least-squares), on whole tasks; "
        "none/none/none under max. Least squares is k-least-squares with k = 1.",
        blocks=[
            {"gen": ["least_squares"], **NONE, **MAX},
            {"gen": ["k_least_squares"], "k": [20], **NONE, **MAX},
        ],
        component=gens_and_ks,
        head="GEN",
        request="+experiment=oracle k=1,20",
        equal=True,
        colour=lambda frame: [f"gen:{gen}" for gen in frame["gen"]],
        values=[names.gen("least_squares"), names.gen("k_least_squares", 20)],
    ),
)


def artefact(focus: Focus, results: Results, options: Options) -> Artefact:
    """One comparison, as far as the results go."""
    frame = under_one_name(results.frame) if focus.equal else results.frame
    blocks = [{**MAIN, **block} for block in focus.blocks]
    seeds = seeds_of(select(frame, blocks), MAIN_SEEDS, options.seeds)
    slice_ = matrix(frame, blocks, seeds)
    about = universe(frame, blocks)
    command = filling.command(focus.request, about if len(about) else frame, results, whole=about.empty)
    head = (focus.name, focus.title, focus.section, focus.caption)
    if not slice_.n_correct.size:
        nothing = "No configuration of this comparison is in the results on whole tasks with all training samples"
        of = "" if options.seeds is None else f" under seed {', '.join(map(str, options.seeds))}"
        return Artefact(*head, basis="", missing=(f"{nothing}{of}.", *slice_.missing), command=command)

    like = comparison.alike(slice_, focus.component(slice_.configurations), focus.settings)
    unlike = slice_.of(~like)
    if not like.all():  # an instance that lacks nothing but what does not count stays
        slice_ = matrix(_within(frame, slice_.configurations[like], focus.settings), blocks, seeds)
    found = comparison.compare(slice_, focus.component(slice_.configurations), options)
    numbers = published.comparison(focus.name)
    absent = [name for name in focus.values or numbers.accuracy if name not in found.names]
    missing = [*slice_.missing, *([f"Not in the results: {', '.join(absent)}."] if absent else [])]
    best = None if focus.best is None else focus.best(slice_.configurations)
    table = comparison.results_table(found, focus.name, focus.title, focus.head, numbers, best)
    finding = comparison.finding(found, options)
    if focus.noise:
        finding = f"{finding} {comparison.noise(found, options)}".strip()
    table = replace(table, note=finding)
    pairs = comparison.pairs_table(found, f"{focus.name}-pairs", f"{focus.title}: pairs", numbers)
    colours = None if focus.colour is None else focus.colour(slice_.configurations.iloc[found.kept])
    diagram = comparison.diagram(found, focus.name, focus.title, colours)
    return Artefact(
        *head,
        basis=basis(slice_, MAIN_SEEDS) + _not_compared(focus, unlike),
        missing=tuple(missing),
        command=command if absent or not slice_.complete else None,
        tables=(table,) if pairs is None else (table, pairs),
        figures=() if diagram is None else (diagram,),
        finding=finding,
    )


def _within(frame: pd.DataFrame, configurations: pd.DataFrame, settings: Sequence[str]) -> pd.DataFrame:
    """The rows that have settings of these configurations."""
    theirs = configurations[list(settings)].drop_duplicates()
    found = frame[list(settings)].merge(theirs, how="left", indicator=True)["_merge"]
    return frame[(found == "both").to_numpy()]


def _not_compared(focus: Focus, unlike: Matrix) -> str:
    """A sentence on configurations that do not count, as not every value was run like them; empty if all do."""
    if focus.best is None or not len(unlike.configurations):
        return ""
    which = list(dict.fromkeys(focus.best(unlike.configurations)))
    return (
        f" Not compared: {counted(len(unlike.configurations), 'configuration')} with settings that not every "
        f"{focus.head} was run with ({names.some(which)})."
    )


COMPARISONS: dict[str, Callable[[Results, Options], Artefact]] = {
    focus.name: partial(artefact, focus) for focus in FOCI
}
"""Name -> what makes it."""
