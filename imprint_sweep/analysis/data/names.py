"""How tables, legends and sentences call what the results table has columns for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from imprint_sweep.analysis.data.results import MODEL, TASK, parameter_columns, records
from imprint_sweep.grid.axes import parameter_key
from imprint_sweep.grid.scheme import COMPONENTS, parameters_of
from imprint_sweep.imprinting.choosing_k import LABELS, MAX_K
from imprint_sweep.imprinting.components import AGGREGATIONS, GENS, METRICS, WEIGHTINGS, Voting


def gen(name: str, k: int | None = None, rule: str | None = None, max_k: int | None = None) -> str:
    """A generator, with its number of proxies, or what chooses it, where it has one.

    >>> gen("kmeans", 20), gen("mean"), gen("kmeans", None, "bic", 20), gen("kmeans", None, "cv_1se", 8)
    ('k-means, k = 20', 'mean', 'k-means, k by BIC', 'k-means, k by validation, at most 8')
    """
    shown = (GENS[name].label if name in GENS else "") or name
    if rule is not None:
        most = "" if max_k == MAX_K else f", at most {max_k}"
        return f"{shown}, k by {LABELS.get(rule, rule)}{most}"
    return shown if k is None else f"{shown}, k = {k}"


def gens(frame: pd.DataFrame) -> list[str]:
    """The generator of each row, with its number of proxies and those parameters of its own that are not neutral.

    Args:
        frame: columns gen and k; select_rule and select_max_k where k was chosen; and
            :func:`~imprint_sweep.analysis.data.results.parameter_columns`.

    Returns:
        One name a row, for example ``"trimmed mean, trim = 0.1"``.
    """
    own = [name for name in parameter_columns(frame) if name.startswith("gen_")]
    of_k = [name for name in ("gen", "k", "select_rule", "select_max_k") if name in frame]
    rows = records(frame[[*of_k, *own]])
    return [", ".join([gen(*(row[name] for name in of_k)), *_parameters(row, "gen")]) for row in rows]


def _parameters(row: Mapping[str, Any], group: str) -> list[str]:
    """The parameters of a group's components in a row that are not neutral, as in ``"trim = 0.1"``."""
    components = {field: row.get(field) for field, registry in COMPONENTS.items() if registry.prefix == group}
    neutral = {key: parameter.neutral for key, parameter in parameters_of(components).items()}
    said = []
    for column, value in row.items():
        key = parameter_key(column)
        if key is not None and key.startswith(f"{group}.") and value is not None and value != neutral.get(key):
            said.append(f"{key.partition('.')[2].replace('_', ' ')} = {_number(value)}")
    return said


def metric(name: str) -> str:
    """A metric as a sentence names it: the three of a person or a place with a capital.

    >>> metric("inner_product"), metric("manhattan")
    ('inner product', 'Manhattan')
    """
    return (METRICS[name].label if name in METRICS else "") or name.replace("_", " ")


def norm(pre: str, post: str, inf: str) -> str:
    """The three normalisations in the paper's order.

    >>> norm("none", "quantile", "none")
    'none/quantile/none'
    """
    return f"{pre}/{post}/{inf}"


def agg(name: str, metric: str, m: int | None = None, weighting: str | None = None) -> str:
    """An aggregation; its usual metric and m-nn's usual weighting go unsaid.

    >>> agg("max", "inner_product"), agg("mnn", "euclidean", 5, "inverse_distance"), agg("mnn", "cosine", 5, "uniform")
    ('max', '5-nn', '5-nn, cosine, uniform')
    >>> agg("max", "euclidean", None, float("nan"))
    'max, euclidean'
    """
    known = AGGREGATIONS[name] if name in AGGREGATIONS else None  # noqa: SIM401 (an unknown name is no KeyError)
    shown = name if known is None else known.shown(m)
    details = [] if known is not None and metric == known.usual_metric else [metric.replace("_", " ")]
    # Only votes have a weighting; in a table, that of others is NaN.
    if isinstance(known, Voting) and weighting not in (None, "inverse_distance") and m != 1:
        details.append((WEIGHTINGS[weighting].label if weighting in WEIGHTINGS else "") or weighting.replace("_", " "))
    return ", ".join([shown, *details])


def configurations(frame: pd.DataFrame) -> list[str]:
    """The whole configuration of each row: GEN, NORM, AGG, and shots where they are limited.

    Args:
        frame: columns :func:`~imprint_sweep.analysis.data.results.scheme_columns`.

    Returns:
        One name a row, for example ``"k-means, k = 20 · l2/l2/l2 · max"``.
    """
    shown = []
    for row, generator in zip(records(frame), gens(frame), strict=True):
        norms = norm(row["norm_pre"], row["norm_post"], row["norm_inf"])
        aggregation = agg(row["agg"], row["metric"], row["m"], row["weighting"])
        parts = [
            generator,
            ", ".join([norms, *_parameters(row, "norm")]),
            ", ".join([aggregation, *_parameters(row, "agg")]),
        ]
        shown.append(" · ".join(parts if row["n_shot"] is None else [*parts, f"n = {row['n_shot']}"]))
    return shown


def instances(frame: pd.DataFrame) -> list[str]:
    """The instance of each row: model, task and classes, and whatever else tells the rows apart.

    Args:
        frame: the columns MODEL and TASK of :mod:`imprint_sweep.analysis.data.results`.

    Returns:
        One name a row, for example ``"resnet18 on mnist, even"``.
    """
    telling = [
        name
        for name in (*MODEL[1:], *TASK[2:])
        if frame[name].nunique(dropna=False) > 1 or (name in TASK and frame[name].notna().any())
    ]
    shown = []
    for row in records(frame):
        details = [f"{name.replace('_', ' ')} {row[name]}" for name in telling if row[name] is not None]
        shown.append(", ".join([f"{row['model']} on {row['task']}", row["classes"], *details]))
    return shown


def models(frame: pd.DataFrame) -> list[str]:
    """The model of each row: its name, with weights, precision or image size where the table has several of that name.

    Args:
        frame: columns :data:`~imprint_sweep.analysis.data.results.MODEL`; all rows that are to be told apart.

    >>> rows = [("lite0", "w", 112, "float32"), ("lite0", "w", 224, "float32"), ("vit", "w", None, "float32")]
    >>> models(pd.DataFrame(rows, columns=MODEL))
    ['lite0 at 112 px', 'lite0 at 224 px', 'vit']
    """
    rows = records(frame[list(MODEL)])
    shown = []
    for row in rows:
        namesakes = [other for other in rows if other["model"] == row["model"]]
        own = [row[name] for name in ("weights", "precision") if any(row[name] != other[name] for other in namesakes)]
        weights = f" ({', '.join(own)})" if own else ""
        size = "its own size" if row["image_size"] is None else f"{row['image_size']:.0f} px"
        several = any(other["image_size"] != row["image_size"] for other in namesakes)
        shown.append(row["model"] + weights + (f" at {size}" if several else ""))
    return shown


def some(names: Sequence[str], most: int = 5) -> str:
    """A list of names for a sentence, cut off where it gets long.

    >>> some(["a", "b", "c"], most=2)
    'a; b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def _number(value: object) -> str:
    """A value as a legend shows it."""
    return f"{value:g}" if isinstance(value, float) else str(value)
