"""Results frames as `imprint_sweep.analysis.data.results.load` gives them, made from a few words."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imprint_sweep.analysis.data.results import COLUMNS, Results

ROW: dict[str, Any] = {
    "cell_id": "c",
    "computation_id": "c",
    "model": "net",
    "weights": "w",
    "image_size": None,
    "precision": "float32",
    "task": "digits",
    "classes": "all",
    "merge": None,
    "remap": None,
    "limit": None,
    "n_labels": 10,
    "n_shot": None,
    "norm_pre": "l2",
    "gen": "mean",
    "k": None,
    "norm_post": "l2",
    "norm_inf": "l2",
    "agg": "max",
    "metric": "inner_product",
    "m": None,
    "weighting": None,
    "seed": 17121997,
    "weight_decay": None,
    "split": "test",
    "select_rule": None,
    "select_max_k": None,
    "n_correct": 50,
    "n_test": 100,
    "n_proxies": 10,
    "gen_seconds": 1.0,
    "eval_seconds": 1.0,
    "fingerprint": "f",
    "method_version": 1,
    "component_versions": None,
    "package_version": "0",
    "git_commit": "g",
    "host": "here",
    "finished_at": "2026-01-01",
}
"""What a row holds unless said otherwise."""

_WHOLE = ("image_size", "merge", "remap", "limit", "n_shot", "k", "m", "select_max_k")
_WORDS = (
    *("model", "weights", "task", "classes", "norm_pre", "gen", "norm_post", "norm_inf", "agg", "metric", "weighting"),
    *("split", "select_rule", "fingerprint", "package_version", "git_commit", "host"),
)


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A results frame.

    Args:
        rows: what differs from :data:`ROW`, in the order in which they were finished.
    """
    table = pd.DataFrame([{**ROW, **row} for row in rows])
    accuracy = table["n_correct"] / table["n_test"]
    table = table.assign(
        accuracy=accuracy, f1_macro=accuracy, finished_at=pd.to_datetime(table["finished_at"], utc=True)
    )
    types = dict.fromkeys(_WHOLE, "Int64") | dict.fromkeys(_WORDS, "category") | {"weight_decay": "float64"}
    return table.astype(types)[list(COLUMNS)]


def product(n_correct: Callable[..., float] | None = None, **axes: Sequence[Any]) -> list[dict[str, Any]]:
    """A row for every combination of some columns' values, the last varying fastest.

    Args:
        n_correct: from the values, as keywords, to the number of correct predictions.
        axes: column -> values. A column ``configuration`` has dictionaries of columns as its values.
    """
    rows = []
    for values in itertools.product(*axes.values()):
        row = dict(zip(axes, values, strict=True))
        counts = {} if n_correct is None else {"n_correct": n_correct(**row)}
        rows.append({**row.pop("configuration", {}), **row, **counts})
    return rows


def results(rows: Sequence[Mapping[str, Any]]) -> Results:
    """A results frame under no particular folder."""
    return Results(frame(rows), Path("outputs"))


def shuffled(table: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same rows in another order."""
    return table.iloc[np.random.default_rng(seed).permutation(len(table))].reset_index(drop=True)
